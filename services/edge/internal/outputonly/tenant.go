// Package outputonly judges members of a message that only answers fill. Who sends back
// what was read may leave them there; who means something else by them is told, since
// what they say would be passed over. Start reading at Tenant.
package outputonly

import "github.com/poterne/poterne/pkg/apierr"

// Tenant judges the tenant that a thing names itself, at a field such as limit.tenant:
// given, where it is not empty, must be the one that the thing will be of, which the
// request's own tenant chooses.
func Tenant(field, given, of string) error {
	if given == "" || given == of {
		return nil
	}
	return apierr.Invalid(field, "%s must be empty, or %q as the request's tenant says: name another tenant there", field, of)
}

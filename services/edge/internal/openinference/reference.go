package openinference

import (
	"strconv"
	"strings"

	"github.com/poterne/poterne/pkg/apierr"
)

// maxDigits bounds a version's number, as the registry does.
const maxDigits = 9

// reference is the registry's reference for a name, which may be one already,
// and a version in a field of its own: 3, or v3.
func reference(nameField, name, versionField, version string) (string, error) {
	if version == "" {
		return name, nil
	}
	digits := strings.TrimPrefix(version, "v")
	if digits == "" || len(digits) > maxDigits || digits[0] == '0' || strings.Trim(digits, "0123456789") != "" {
		return "", apierr.Invalid(versionField, "%s: must be a number such as 3, got %q; an alias is asked for as name@alias", versionField, version)
	}
	bare, qualifier, qualified := strings.Cut(name, "@")
	if qualified && qualifier != "v"+digits {
		return "", apierr.Invalid(versionField, "%s: is %s, and %s says %q", versionField, version, nameField, qualifier)
	}
	return bare + "@v" + digits, nil
}

// number writes a version as the protocol has it; "" for none.
func number(version int32) string {
	if version == 0 {
		return ""
	}
	return strconv.Itoa(int(version))
}

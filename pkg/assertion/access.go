package assertion

import (
	"slices"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/identity"
)

// Access is who may call a method. The zero value lets nobody.
type Access struct {
	// Callers: somebody whom an issuer vouches for. The method acts in the caller's
	// tenant and by the caller's principals and roles.
	Callers bool
	// Purpose is that of assertions which are narrowed and let a caller in, too.
	Purpose string
	// Services may call for themselves, and act in no tenant.
	Services []string
	// Tenant is in which tenant it acts for callers.
	Tenant Tenancy
}

// Tenancy is in which tenant a method acts. The zero value is no row's.
type Tenancy int

// The tenancies. Platform is held to here; the others are the handlers' to hold to.
const (
	_ Tenancy = iota
	// Callers: the caller's own.
	Callers
	// Models: that of a model, which other tenants than its own do not see.
	Models
	// Shared: what the platform keeps for all, by its policy.
	Shared
	// Platform: it shows or changes what is every tenant's, so the caller must be of
	// the platform's.
	Platform
	// None: it is for services.
	None
)

// Table is who may call each method (/package.Service/Method) of a service. A
// method that is missing asks for nothing: health and reflection. A service's own
// test holds that each of its methods has a row.
type Table map[string]Access

// admits returns why a statement is not one for the method at a service.
func (a Access) admits(s *statement, service string) error {
	full := slices.Contains(s.audience, service)
	switch {
	case s.forItself():
		if !full {
			return errAudience
		}
		if !slices.Contains(a.Services, s.issuer) {
			return errMethod
		}
		return nil
	case full:
		if !a.Callers {
			return errMethod
		}
		return nil
	case !s.covers(service):
		return errAudience
	case a.Purpose == "" || !slices.Contains(s.audience, Narrowed(service, a.Purpose)):
		return errMethod
	}
	return nil
}

// permits refuses a caller of another tenant where the platform's is needed.
func (a Access) permits(c identity.Caller, platform string) error {
	if a.Tenant == Platform && platform != "" && c.Tenant != platform {
		return apierr.New(apierr.PermissionDenied, "only callers of the platform's tenant may do this")
	}
	return nil
}

// Faults returns what is wrong with the rows for the services of a package of the
// contract, for each service's test: methods without one, rows that say nothing,
// rows of no method.
func (t Table) Faults(pkg protoreflect.FullName) (out []string) {
	known := make(map[string]bool)
	protoregistry.GlobalFiles.RangeFilesByPackage(pkg, func(f protoreflect.FileDescriptor) bool {
		for i := range f.Services().Len() {
			s := f.Services().Get(i)
			for j := range s.Methods().Len() {
				name := "/" + string(s.FullName()) + "/" + string(s.Methods().Get(j).Name())
				known[name] = true
				a, ok := t[name]
				switch {
				case !ok:
					out = append(out, name+" has no row")
				case a.Tenant == 0 || !a.Callers && a.Purpose != "" || a.Callers == (a.Tenant == None) || !a.Callers && len(a.Services) == 0:
					out = append(out, name+" has a row that does not say who calls, and in which tenant it acts")
				}
			}
		}
		return true
	})
	for name := range t {
		if !known[name] {
			out = append(out, name+" is no method")
		}
	}
	return out
}

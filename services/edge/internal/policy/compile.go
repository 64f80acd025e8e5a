package policy

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	"github.com/poterne/poterne/services/edge/internal/authz"
)

// Space is what policies are compiled for.
type Space struct {
	// Platform is the tenant whose policy is the platform's.
	Platform string
	// Base is the rules that come with the gateway and its configuration.
	Base *authz.Layer
	// Compiler compiles conditions; nil: each policy's by themselves.
	Compiler *authz.Compiler
	// TenantConditions is how many different ones a new version of a tenant's policy
	// may have; 0: as many as the platform's.
	TenantConditions int
}

// compiled is a document ready to be asked.
type compiled struct {
	layer       *authz.Layer
	withoutBase bool
}

// compile checks a document and compiles it. The error joins everything that is
// wrong with it.
func (s Space) compile(tenant, name string, doc *Document) (compiled, error) {
	if doc.GetWithoutBase() && tenant != s.Platform {
		return compiled{}, errors.New("without_base is for the platform's policy")
	}
	p := toPolicy(tenant, doc)
	if tenant == s.Platform {
		// own is not the platform's tenant alone.
		for i, r := range doc.GetRules() {
			p.Rules[i].Scope = or(r.GetScope(), authz.ScopeOwn)
		}
		layer, err := s.compileLayer(name, p)
		return compiled{layer: layer, withoutBase: doc.GetWithoutBase()}, err
	}
	compileTenant := authz.CompileTenantLayer
	if s.Compiler != nil {
		compileTenant = s.Compiler.TenantLayer
	}
	layer, err := compileTenant(name, tenant, p)
	return compiled{layer: layer}, err
}

func (s Space) compileLayer(name string, p authz.Policy) (*authz.Layer, error) {
	if s.Compiler != nil {
		return s.Compiler.Layer(name, p)
	}
	return authz.CompileLayer(name, p)
}

// conditions bounds the different conditions of a document.
func (s Space) conditions(tenant string, p authz.Policy) error {
	most := authz.MaxConditions
	if tenant != s.Platform && s.TenantConditions > 0 {
		most = s.TenantConditions
	}
	different := make(map[string]struct{})
	for _, r := range p.Rules {
		different[r.Condition] = struct{}{}
	}
	if n := len(different); n > most {
		return fmt.Errorf("there are %d different conditions, of at most %d (authz.max_tenant_conditions)", n, most)
	}
	return nil
}

// layers puts documents together.
func (s Space) layers(docs map[string]compiled) authz.Layers {
	l := authz.Layers{Base: s.Base, Tenants: make(map[string]*authz.Layer)}
	for tenant, c := range docs {
		if tenant != s.Platform {
			l.Tenants[tenant] = c.layer
			continue
		}
		l.Platform = c.layer
		if c.withoutBase {
			l.Base = nil
		}
	}
	return l
}

// The bounds on documents.
const (
	maxRules       = 100_000
	maxTenantRules = 10_000
	maxCases       = 1000
	// maxProblems bounds what an error tells.
	maxProblems = 50
)

func validID(s string) bool {
	for i := range len(s) {
		c := s[i]
		letter := 'a' <= c && c <= 'z' || '0' <= c && c <= '9'
		if !letter && (i == 0 || c != '_' && c != '-' && c != '.') {
			return false
		}
	}
	return s != "" && len(s) <= 63
}

// Check says everything that is wrong with a document's form, besides its
// conditions.
func (s Space) Check(tenant string, doc *Document) error {
	var errs []error
	note := func(err error) {
		if len(errs) < maxProblems && err != nil {
			errs = append(errs, err)
		}
	}
	most, size := maxRules, MaxPlatformBytes
	if tenant != s.Platform {
		most, size = maxTenantRules, MaxTenantBytes
	}
	if n := max(len(doc.GetRules()), len(doc.GetRoles())); n > most {
		return fmt.Errorf("there are %d rules or roles, of at most %d", n, most)
	}
	if n := len(doc.GetCases()); n > maxCases {
		return fmt.Errorf("there are %d cases, of at most %d", n, maxCases)
	}
	if n := proto.Size(doc); n > size {
		return fmt.Errorf("the document takes %d bytes, of at most %d", n, size)
	}
	p := toPolicy(tenant, doc)
	if err := s.conditions(tenant, p); err != nil {
		return err
	}
	permissions := authz.Permissions()
	ids := make(map[string]struct{}, len(p.Rules))
	for _, r := range p.Rules {
		if _, twice := ids[r.ID]; twice {
			note(fmt.Errorf("rule %s: there is another one of this id", r.ID))
		}
		ids[r.ID] = struct{}{}
		if !validID(r.ID) {
			note(fmt.Errorf("rule %.80q: an id has up to 63 of a-z, 0-9, _, . and -", r.ID))
			continue
		}
		if err := r.Check(); err != nil {
			note(fmt.Errorf("rule %s: %w", r.ID, err))
		}
		if err := authz.CheckPermission(permissions, r.Type, r.Action); err != nil {
			note(fmt.Errorf("rule %s: %w", r.ID, err))
		}
	}
	for i, b := range p.Bindings {
		if err := b.Check(); err != nil {
			note(fmt.Errorf("role %d: %w", i+1, err))
		}
	}
	return errors.Join(errs...)
}

// denyAll stands for a tenant's policy that cannot be loaded, where there is none
// before it to go on with.
func (s Space) denyAll(tenant, name string) (compiled, error) {
	return s.compile(tenant, name, &Document{Rules: []*edgev1.PolicyRule{{Id: "not-loaded", Subject: "public", Effect: authz.EffectDeny}}})
}

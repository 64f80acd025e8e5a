package authz

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/poterne/poterne/pkg/identity"
)

// Facts is what conditions may ask about a request, besides who asks for what.
// It is found out only when a rule that may apply asks.
type Facts struct {
	// Now is when the request is judged.
	Now time.Time
	// Address is the client's; invalid when it is not known.
	Address netip.Addr
	// MTLS says that the connection was made with a verified client certificate,
	// and Bound that the credentials are bound to a key that was proven.
	MTLS, Bound bool
	// IssueTime is when the credentials were issued; zero when that is not known.
	IssueTime time.Time
	// Claims is what the token says; nil for an API key.
	Claims map[string]any
}

// About is what a request says of itself besides its resource.
type About struct {
	// Reference is what follows the model's name: an alias, v3 or a digest.
	Reference string
	// RequestedTokens is the most that the request lets be generated; 0 when it
	// does not say.
	RequestedTokens int64
	// Class is that of the documents, where one is known; nil: of any.
	Class *string
}

// fact is a bit for each thing that a decision may depend on and that is not the
// same for the same caller, resource and action.
type fact uint16

const (
	needAddress fact = 1 << iota
	needTokens
	needReference
	needBinding
	needHour
	needMinute
	needWeekday
	// needLabels is the model's, needVersion what may answer in its name, and
	// needClass that of the documents: which of them it is, is asked of each.
	needLabels
	needVersion
	needClass
	// needUnique is for what hardly two requests have in common: such decisions are
	// not remembered.
	needUnique
)

// variable is a name that conditions may use.
type variable struct {
	name string
	typ  *cel.Type
	need fact
	of   func(a *asker) any
}

// variables lists every name that conditions may use.
func variables() []variable {
	texts := cel.ListType(cel.StringType)
	return []variable{
		{"tenant", cel.StringType, 0, func(a *asker) any { return a.caller.Tenant }},
		{"subject", cel.StringType, 0, func(a *asker) any { return a.caller.Subject }},
		{"principals", texts, 0, func(a *asker) any { return a.principals("") }},
		{"roles", texts, 0, func(a *asker) any { return a.principals(rolePrefix) }},
		{"groups", texts, 0, func(a *asker) any { return a.principals("group:") }},
		{"platform_tenant", cel.StringType, 0, func(a *asker) any { return a.platform }},
		{"resource_tenant", cel.StringType, 0, func(a *asker) any { return a.res.Tenant }},
		{"resource_type", cel.StringType, 0, func(a *asker) any { return a.res.Type }},
		{"resource_id", cel.StringType, 0, func(a *asker) any { return a.res.ID }},
		{"action", cel.StringType, 0, func(a *asker) any { return a.action }},
		{"model", cel.StringType, 0, func(a *asker) any { return a.model() }},
		{"collection", cel.StringType, 0, func(a *asker) any { return a.collection() }},
		{"model_labels", cel.MapType(cel.StringType, cel.StringType), needLabels, func(a *asker) any { return a.labels() }},
		{"model_version", cel.IntType, needVersion, func(a *asker) any { return a.ofVersion(func(v *ModelVersion) any { return int64(v.Number) }) }},
		{"model_digest", cel.StringType, needVersion, func(a *asker) any { return a.ofVersion(func(v *ModelVersion) any { return v.Digest }) }},
		{"model_aliases", texts, needVersion, func(a *asker) any { return a.ofVersion(func(v *ModelVersion) any { return v.Aliases }) }},
		{"version_labels", cel.MapType(cel.StringType, cel.StringType), needVersion, func(a *asker) any { return a.ofVersion(func(v *ModelVersion) any { return labelsOf(v.Labels) }) }},
		{"arm", cel.StringType, needVersion, func(a *asker) any { return a.ofVersion(func(v *ModelVersion) any { return v.Arm }) }},
		{"experiment", cel.StringType, needVersion, func(a *asker) any { return a.ofVersion(func(v *ModelVersion) any { return v.Experiment }) }},
		{documentClass, cel.StringType, needClass, func(a *asker) any { return a.facet.class }},
		{"model_reference", cel.StringType, needReference, func(a *asker) any { return a.about.Reference }},
		{"requested_tokens", cel.IntType, needTokens, func(a *asker) any { return a.about.RequestedTokens }},
		{"address", cel.StringType, needAddress, func(a *asker) any { return addressText(a.facts().Address) }},
		{"mtls", cel.BoolType, needBinding, func(a *asker) any { return a.facts().MTLS }},
		{"bound", cel.BoolType, needBinding, func(a *asker) any { return a.facts().Bound }},
		{"hour", cel.IntType, needHour, func(a *asker) any { return int64(a.facts().Now.UTC().Hour()) }},
		{"minute", cel.IntType, needMinute, func(a *asker) any { return int64(a.facts().Now.UTC().Minute()) }},
		{"weekday", cel.StringType, needWeekday, func(a *asker) any { return strings.ToLower(a.facts().Now.UTC().Weekday().String()) }},
		{"now", cel.TimestampType, needUnique, func(a *asker) any { return a.facts().Now }},
		{"token_age", cel.DurationType, needUnique, func(a *asker) any { return a.tokenAge() }},
		{"claims", cel.MapType(cel.StringType, cel.DynType), needUnique, func(a *asker) any { return a.claims() }},
	}
}

// Variables returns the names that conditions may use, in order.
func Variables() []string {
	var out []string
	for _, v := range variables() {
		out = append(out, v.name)
	}
	slices.Sort(out)
	return out
}

// unknown is a value that is not known, which has the condition fail where it counts.
func unknown(why error) ref.Val { return types.WrapErr(why) }

func addressText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.Unmap().String()
}

// asker is a request as the rules see it. It is the activation of conditions.
type asker struct {
	*standing

	action string
	res    Resource
	about  About
	find   func() Facts
	found  *Facts
	models func(name, reference string) (*ModelFacts, error)
	facet  facet
	// looked says that the model was looked for, and modelErr why it is not known.
	looked   bool
	modelErr error
	// spent is what the conditions of the tenant's policy took, in CEL's units.
	spent uint64
	// cost is what the conditions of all policies took.
	cost uint64
	// matched is the rules that applied, in the order in which they were asked.
	matched []*rule
}

// standing is a caller with the roles that the policy gives.
type standing struct {
	caller   identity.Caller
	platform string
	names    map[string]func(a *asker) any
	// all is the caller's principals and the roles that the platform's policy adds;
	// inTenant is these and those that the tenant's own policy adds, for its rules.
	all, inTenant map[string]struct{}
}

// ResolveName returns the value of a variable (cel.Activation).
func (a *asker) ResolveName(name string) (any, bool) {
	of, ok := a.names[name]
	if !ok {
		return nil, false
	}
	return of(a), true
}

// Parent is nil: there are no names further out.
func (a *asker) Parent() cel.Activation { return nil }

func (a *asker) facts() *Facts {
	if a.found == nil {
		a.found = new(Facts)
		if a.find != nil {
			*a.found = a.find()
		}
	}
	return a.found
}

// principals returns those that begin with prefix, without it.
func (a *asker) principals(prefix string) []string {
	out := make([]string, 0, len(a.all))
	for p := range a.all {
		if name, ok := strings.CutPrefix(p, prefix); ok {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

func (a *asker) model() string {
	if a.res.Type == "model" || strings.HasPrefix(a.res.Type, "registry-") {
		return a.res.ID
	}
	return ""
}

// collection is the collection of a document too.
func (a *asker) collection() string {
	switch a.res.Type {
	case "collection":
		return a.res.ID
	case "document":
		name, _, _ := strings.Cut(a.res.ID, "/")
		return name
	default:
		return ""
	}
}

// unknownAge is how old credentials are of which nobody knows: no rule for fresh
// ones may apply to them.
const unknownAge = 100 * 365 * 24 * time.Hour

func (a *asker) tokenAge() time.Duration {
	f := a.facts()
	if f.IssueTime.IsZero() {
		return unknownAge
	}
	return max(0, f.Now.Sub(f.IssueTime))
}

func (a *asker) claims() map[string]any {
	if c := a.facts().Claims; c != nil {
		return c
	}
	return map[string]any{}
}

// detail is the values of what conditions need, as a part of a cache's key.
func (a *asker) detail(need fact) string {
	var b strings.Builder
	for _, part := range []struct {
		bit fact
		of  func() string
	}{
		{needAddress, func() string { return addressText(a.facts().Address) }},
		{needTokens, func() string { return strconv.FormatInt(a.about.RequestedTokens, 10) }},
		{needReference, func() string { return a.about.Reference }},
		{needBinding, func() string { return strconv.FormatBool(a.facts().MTLS) + strconv.FormatBool(a.facts().Bound) }},
		{needHour, func() string { return strconv.Itoa(a.facts().Now.UTC().Hour()) }},
		{needMinute, func() string { return strconv.Itoa(a.facts().Now.UTC().Minute()) }},
		{needWeekday, func() string { return a.facts().Now.UTC().Weekday().String() }},
	} {
		if need&part.bit != 0 {
			b.WriteString(part.of())
			b.WriteByte('\n')
		}
	}
	b.WriteString(a.facetKey(need))
	return b.String()
}

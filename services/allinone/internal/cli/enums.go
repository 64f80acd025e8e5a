package cli

import (
	"maps"
	"slices"
	"strings"

	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

// enum is an enumeration of the contract, as flags take it: in words.
type enum struct {
	prefix string
	names  map[int32]string // of the generated code
}

func limitKinds() enum      { return enum{"LIMIT_KIND_", edgev1.LimitKind_name} }
func limitAways() enum      { return enum{"LIMIT_AWAY_", edgev1.LimitAway_name} }
func routeOperations() enum { return enum{"ROUTE_OPERATION_", edgev1.RouteOperation_name} }
func routeReasons() enum    { return enum{"ROUTE_REASON_", edgev1.RouteReason_name} }
func stickyBys() enum       { return enum{"STICKY_BY_", registryv1.StickyBy_name} }

// words are what a flag takes, in the contract's order.
func (e enum) words() []string {
	var out []string
	for _, number := range slices.Sorted(maps.Keys(e.names)) {
		if number != 0 { // the unspecified one is said by giving none
			out = append(out, strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(e.names[number], e.prefix)), "_", "-"))
		}
	}
	return out
}

// name is the contract's name of a word, or of what is such a name already, as errors of
// the gateway have it. Of anything else it says what the flag takes.
func (e enum) name(flag, word string) (string, error) {
	plain := strings.ReplaceAll(strings.TrimPrefix(strings.ToUpper(strings.ReplaceAll(word, "-", "_")), e.prefix), "_", "-")
	if i := slices.Index(e.words(), strings.ToLower(plain)); i >= 0 {
		return e.prefix + strings.ReplaceAll(plain, "-", "_"), nil
	}
	words := e.words()
	last := len(words) - 1
	return "", usagef("--%s must be %s or %s, got %q", flag, strings.Join(words[:last], ", "), words[last], word)
}

// nameAll is the names of a list of words.
func (e enum) nameAll(flag string, words []string) ([]string, error) {
	out := make([]string, len(words))
	for i, w := range words {
		var err error
		if out[i], err = e.name(flag, w); err != nil {
			return nil, err
		}
	}
	return out, nil
}

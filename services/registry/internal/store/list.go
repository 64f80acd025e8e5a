package store

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/poterne/poterne/pkg/apierr"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/registry/internal/filter"
)

// Query says which models or versions are listed.
type Query struct {
	// Filter is nil for all.
	Filter filter.Node
	// OrderBy is a field, with " desc" behind it for the other way round; empty for
	// the list's own order.
	OrderBy string
	// After is the place behind which the list goes on, as Place gave it; empty for
	// the beginning.
	After string
	// Limit is how many at most.
	Limit int
	// Deleted adds those that are deleted and can still be restored.
	Deleted bool
	// Tenant, unless nil, leaves out the models of other tenants.
	Tenant *string
}

const (
	fieldName       = "name"
	fieldNumber     = "number"
	fieldCreateTime = "create_time"
	fieldUpdateTime = "update_time"
	metricsPrefix   = "metrics."
)

// order is a Query's order, read.
type order struct {
	field string
	desc  bool
}

func readOrder(text string, byDefault order, known func(field string) bool) (order, error) {
	words := strings.Fields(text)
	if len(words) == 0 {
		return byDefault, nil
	}
	if len(words) > 2 || len(words) == 2 && words[1] != "asc" && words[1] != "desc" || !known(words[0]) {
		return order{}, apierr.Invalid("order_by", "what is listed cannot be ordered by %q: "+
			"one field that the documentation names, and asc or desc behind it", text)
	}
	return order{field: words[0], desc: len(words) == 2 && words[1] == "desc"}, nil
}

// direction is how SQL calls the order, and what is behind a place in it.
func (o order) direction() (direction, behind string) {
	if o.desc {
		return "DESC", "<"
	}
	return "ASC", ">"
}

// Place is where a model or version is in a list, for Query.After.
type Place struct{ first, second string }

const placeSeparator = "/"

func (p Place) String() string {
	if p.first == "" {
		return p.second
	}
	return p.first + placeSeparator + p.second
}

// readPlace reads what String wrote; both says that there are two parts.
func readPlace(text string, both bool) (Place, error) {
	if !both {
		return Place{second: text}, nil
	}
	first, second, ok := strings.Cut(text, placeSeparator)
	if !ok {
		return Place{}, errBadPlace()
	}
	return Place{first, second}, nil
}

func errBadPlace() error {
	return apierr.Invalid("page_token", "page_token is not one that this list gave")
}

// drivers are the terms that all that passes the filter has, by which it can be
// found: the table of terms has each in the list's own order.
func (s subject) drivers(n filter.Node) (out []filter.Compare) {
	switch n := n.(type) {
	case filter.Compare:
		if _, isColumn := s.columns[n.Field]; n.Op == filter.Equal && !isColumn && s.isTerm(n.Field) {
			out = append(out, n)
		}
	case filter.And:
		for _, part := range n {
			out = append(out, s.drivers(part)...)
		}
	}
	return out
}

// without is a filter without a term that all that passes it has, once what is
// listed is found by that.
func without(n filter.Node, term filter.Compare) filter.Node {
	switch n := n.(type) {
	case filter.Compare:
		if n == term {
			return filter.And{}
		}
	case filter.And:
		out := make(filter.And, len(n))
		for i, part := range n {
			out[i] = without(part, term)
		}
		return out
	}
	return n
}

// where joins conditions.
func where(conditions []string) string {
	return ` WHERE ` + strings.Join(slices.DeleteFunc(conditions, func(c string) bool { return c == "" }), ` AND `)
}

func modelSubject() subject {
	return subject{
		columns: map[string]column{
			fieldName: {"m.name", readText}, fieldCreateTime: {"m.create_time", readTime}, fieldUpdateTime: {"m.update_time", readTime},
			"version_count": {"m.version_count", readNumber},
		},
		terms:     map[string]bool{termTask: true, termOwner: true, termTenant: true, termLicence: true},
		termTable: "registry_model_terms", termRow: "t.model = m.name",
	}
}

// FindModels lists models without their cards, by name unless asked otherwise.
func (s *Store) FindModels(ctx context.Context, query Query) ([]*registryv1.Model, error) {
	o, err := readOrder(query.OrderBy, order{field: fieldName}, func(field string) bool {
		return field == fieldName || field == fieldCreateTime || field == fieldUpdateTime
	})
	if err != nil {
		return nil, err
	}
	st := &statement{subject: modelSubject()}
	from, conditions := `registry_models m`, []string{}
	name := "m.name"
	if query.Filter != nil {
		condition, err := st.condition(query.Filter)
		if err != nil {
			return nil, err
		}
		conditions = append(conditions, "("+condition+")")
		if by := st.subject.drivers(query.Filter); len(by) > 0 && o.field == fieldName {
			c := by[0]
			from, name = `registry_model_terms d CROSS JOIN registry_models m`, "d.model"
			conditions = append(conditions, `m.name = d.model AND d.key = `+st.arg(c.Field)+` AND d.value = `+st.arg(c.Value))
		}
	}
	if query.Tenant != nil {
		conditions = append(conditions, `m.tenant IN ('', `+st.arg(*query.Tenant)+`)`)
	}
	if !query.Deleted {
		conditions = append(conditions, `m.delete_time = 0`)
	}
	by := name
	if o.field != fieldName {
		by = `m.` + o.field
	}
	direction, behind := o.direction()
	if query.After != "" {
		p, err := readPlace(query.After, o.field != fieldName)
		if err != nil {
			return nil, err
		}
		if o.field == fieldName {
			conditions = append(conditions, name+` `+behind+` `+st.arg(p.second))
		} else {
			at, err := strconv.ParseInt(p.first, 10, 64)
			if err != nil {
				return nil, errBadPlace()
			}
			conditions = append(conditions, `(`+by+`, m.name) `+behind+` (`+st.arg(at)+`, `+st.arg(p.second)+`)`)
		}
	}
	ordering := by + ` ` + direction
	if o.field != fieldName {
		ordering += `, m.name ` + direction
	}
	if len(conditions) == 0 {
		conditions = append(conditions, `1 = 1`)
	}
	out, err := collect(ctx, s.db.Reader(), scanModel,
		`SELECT `+modelBriefOf+` FROM `+from+where(conditions)+` ORDER BY `+ordering+` LIMIT `+st.arg(query.Limit), s.valuesPlanned(st.args)...)
	return out, failure(ctx, err, "list models")
}

// valuesPlanned has PostgreSQL plan a statement for the values that it is given. A
// plan for any values, which it keeps for statements that come often, knows neither
// that a term is common nor that few rows are wanted, and takes a hundred times as
// long as the one for a page.
func (s *Store) valuesPlanned(args []any) []any { return s.db.Described(args) }

// ModelPlace is where a model is in a list of that order.
func ModelPlace(m *registryv1.Model, orderBy string) Place {
	o, _ := readOrder(orderBy, order{field: fieldName}, func(string) bool { return true })
	switch o.field {
	case fieldCreateTime:
		return Place{strconv.FormatInt(micros(m.GetCreateTime().AsTime()), 10), m.GetName()}
	case fieldUpdateTime:
		return Place{strconv.FormatInt(micros(m.GetUpdateTime().AsTime()), 10), m.GetName()}
	default:
		return Place{second: m.GetName()}
	}
}

// ListModels returns at most limit models by name, those after the given one.
func (s *Store) ListModels(ctx context.Context, after string, limit int) ([]*registryv1.Model, error) {
	return s.FindModels(ctx, Query{After: after, Limit: limit})
}

// modelBriefOf is modelBrief of the table m.
var modelBriefOf = "m." + strings.ReplaceAll(modelFields, ", ", ", m.") + ", ''"

// versionColumnsOf is versionColumns of a table.
func versionColumnsOf(table string) string {
	return table + "." + strings.ReplaceAll(versionColumns, ", ", ", "+table+".")
}

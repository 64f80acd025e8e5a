package store

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/registry/internal/filter"
)

func versionSubject() subject {
	return subject{
		columns: map[string]column{
			fieldNumber: {"v.number", readNumber}, "digest": {"v.digest", readText}, fieldCreateTime: {"v.create_time", readTime},
		},
		terms: map[string]bool{
			termTask: true, termEngine: true, termLicence: true, termParent: true, termRun: true, termSigned: true,
		},
		termTable: "registry_version_terms", termRow: "t.model = v.model AND t.version = v.number",
		metricRow: "x.model = v.model AND x.version = v.number",
	}
}

func versionOrder(text string) (order, error) {
	o, err := readOrder(text, order{field: fieldNumber, desc: true}, func(field string) bool {
		return field == fieldNumber || field == fieldCreateTime || strings.HasPrefix(field, metricsPrefix)
	})
	if o.field == fieldCreateTime {
		o.field = fieldNumber // numbers are given in the order of creation
	}
	return o, err
}

// FindVersions lists a model's versions with their variants, newest first unless
// asked otherwise. By a metric only those are listed that have it.
func (s *Store) FindVersions(ctx context.Context, model string, query Query) ([]*registryv1.Version, error) {
	o, err := versionOrder(query.OrderBy)
	if err != nil {
		return nil, err
	}
	var out []*registryv1.Version
	err = s.snapshot(ctx, "list versions", func(ctx context.Context, q querier) (err error) {
		if err := hasModel(ctx, q, model); err != nil {
			return err
		}
		driver, few, err := rarest(ctx, q, model, versionSubject().drivers(query.Filter))
		if err != nil {
			return err
		}
		if !few && strings.HasPrefix(o.field, metricsPrefix) {
			driver = nil // sooner found in the order of the metric
		}
		text, args, err := versionsQuery(model, query, o, driver)
		if err != nil {
			return err
		}
		if out, err = collect(ctx, q, scanVersion, text, s.valuesPlanned(args)...); err != nil {
			return err
		}
		return addVariantsByNumber(ctx, q, out)
	})
	return out, err
}

// The bounds on finding out which term leads.
const (
	maxLook  = 2000 // rows that are counted of one
	maxTerms = 8    // terms that are looked at
)

// rarest returns the term that the fewest versions have, as far as a short look
// tells, and whether these are so few that they can be sorted; nil when there is none.
func rarest(ctx context.Context, q querier, model string, terms []filter.Compare) (rare *filter.Compare, few bool, err error) {
	if len(terms) == 0 {
		return nil, false, nil
	}
	terms = terms[:min(len(terms), maxTerms)]
	st := &statement{}
	of, look := st.arg(model), st.arg(maxLook)
	counts := make([]string, 0, len(terms))
	for _, c := range terms {
		counts = append(counts, `(SELECT count(*) FROM (SELECT 1 FROM registry_version_terms
			WHERE model = `+of+` AND key = `+st.arg(c.Field)+` AND value = `+st.arg(c.Value)+` LIMIT `+look+`) s)`)
	}
	have, to := make([]int, len(terms)), make([]any, len(terms))
	for i := range have {
		to[i] = &have[i]
	}
	if err := q.QueryRowContext(ctx, `SELECT `+strings.Join(counts, ", "), st.args...).Scan(to...); err != nil {
		return nil, false, fmt.Errorf("how many versions have a term: %w", err)
	}
	least := slices.Min(have)
	return &terms[slices.Index(have, least)], least < maxLook, nil
}

// versionsQuery writes the query. What decides the order comes first, so that
// the rows are read in it and reading stops at the limit.
func versionsQuery(model string, query Query, o order, driver *filter.Compare) (text string, args []any, err error) {
	st := &statement{subject: versionSubject()}
	from, conditions := `registry_versions v`, []string{`v.model = ` + st.arg(model)}
	by, number := ``, `v.number`
	if !query.Deleted {
		conditions = append(conditions, `v.delete_time = 0`)
	}
	if rest := query.Filter; rest != nil {
		if driver != nil {
			rest = without(rest, *driver)
		}
		condition, err := st.condition(rest)
		if err != nil {
			return "", nil, err
		}
		conditions = append(conditions, "("+condition+")")
	}
	if metric, is := strings.CutPrefix(o.field, metricsPrefix); is {
		from, by, number = `registry_version_metrics d CROSS JOIN `+from, `d.value`, `d.version`
		conditions = append(conditions, `d.model = $1 AND v.number = d.version AND d.name = `+st.arg(metric))
	}
	if c := driver; c != nil {
		lead := number
		if by != "" {
			by = "+" + by // the sign keeps planners from reading in the metric's order after all
		}
		from, number = `registry_version_terms l CROSS JOIN `+from, `l.version`
		conditions = append(conditions, `l.model = $1 AND l.version = `+lead+` AND l.key = `+st.arg(c.Field)+` AND l.value = `+st.arg(c.Value))
	}
	direction, behind := o.direction()
	if query.After != "" {
		condition, err := st.behind(query.After, by, number, behind)
		if err != nil {
			return "", nil, err
		}
		conditions = append(conditions, condition)
	}
	ordering := number + ` ` + direction
	if by != "" {
		ordering = by + ` ` + direction + `, ` + ordering
	}
	return `SELECT ` + versionColumnsOf("v") + ` FROM ` + from + where(conditions) + ` ORDER BY ` + ordering + ` LIMIT ` + st.arg(query.Limit),
		st.args, nil
}

// behind is the condition that a version is behind a place.
func (s *statement) behind(after, by, number, behind string) (string, error) {
	p, err := readPlace(after, by != "")
	if err != nil {
		return "", err
	}
	n, err := strconv.ParseInt(p.second, 10, 32)
	if err != nil {
		return "", errBadPlace()
	}
	if by == "" {
		return number + ` ` + behind + ` ` + s.arg(n), nil
	}
	bits, err := strconv.ParseUint(p.first, 16, 64)
	if err != nil {
		return "", errBadPlace()
	}
	return `(` + by + `, ` + number + `) ` + behind + ` (` + s.arg(math.Float64frombits(bits)) + `, ` + s.arg(n) + `)`, nil
}

// VersionPlace is where a version is in a list of that order.
func VersionPlace(v *registryv1.Version, orderBy string) Place {
	o, _ := versionOrder(orderBy)
	p := Place{second: strconv.Itoa(int(v.GetNumber()))}
	if metric, is := strings.CutPrefix(o.field, metricsPrefix); is {
		p.first = strconv.FormatUint(math.Float64bits(v.GetMetrics()[metric]), 16)
	}
	return p
}

// ListVersions returns at most limit versions with their variants, newest
// first, those numbered below before; 0 begins at the newest.
func (s *Store) ListVersions(ctx context.Context, model string, before int32, limit int) ([]*registryv1.Version, error) {
	query := Query{Limit: limit}
	if before != 0 {
		query.After = strconv.Itoa(int(before))
	}
	return s.FindVersions(ctx, model, query)
}

// addVariantsByNumber gives each version its variants, by name.
func addVariantsByNumber(ctx context.Context, q querier, versions []*registryv1.Version) error {
	byModel := make(map[string][]*registryv1.Version)
	for _, v := range versions {
		byModel[v.GetModel()] = append(byModel[v.GetModel()], v)
	}
	for model, of := range byModel {
		for some := range slices.Chunk(of, 500) {
			st := statement{args: []any{model}}
			numbers := make([]string, 0, len(some))
			for _, v := range some {
				numbers = append(numbers, st.arg(v.GetNumber()))
			}
			if err := addVariants(ctx, q, some, `model = $1 AND version IN (`+strings.Join(numbers, ", ")+`)`, st.args...); err != nil {
				return err
			}
		}
	}
	return nil
}

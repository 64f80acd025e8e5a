package store

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/services/registry/internal/filter"
)

// subject says how what is listed is found: which fields are columns, and in which
// tables the others are.
type subject struct {
	// columns are fields that are compared as they are, by the column and what is
	// in it.
	columns map[string]column
	// terms are fields of the table of terms, labels besides.
	terms map[string]bool
	// termRow and metricRow say which rows of the tables t and x belong to the row
	// that is looked at; metricRow is empty where there are no metrics.
	termTable, termRow, metricRow string
}

// column is a column and how a value for it is read.
type column struct {
	name string
	read func(value string) (any, error)
}

// statement collects the conditions of a query and their arguments.
type statement struct {
	subject subject
	args    []any
}

// arg returns the placeholder of a value.
func (s *statement) arg(v any) string {
	s.args = append(s.args, v)
	return "$" + strconv.Itoa(len(s.args))
}

// condition returns the SQL of a filter.
func (s *statement) condition(n filter.Node) (string, error) {
	switch n := n.(type) {
	case filter.And:
		return s.join([]filter.Node(n), " AND ")
	case filter.Or:
		return s.join([]filter.Node(n), " OR ")
	case filter.Not:
		inner, err := s.condition(n.Node)
		return "NOT (" + inner + ")", err
	case filter.Compare:
		return s.compare(n)
	default:
		return "", fmt.Errorf("filter: a node of the kind %T", n)
	}
}

func (s *statement) join(nodes []filter.Node, with string) (string, error) {
	if len(nodes) == 0 {
		return "1 = 1", nil
	}
	parts := make([]string, 0, len(nodes))
	for _, n := range nodes {
		part, err := s.condition(n)
		if err != nil {
			return "", err
		}
		parts = append(parts, "("+part+")")
	}
	return strings.Join(parts, with), nil
}

func badFilter(format string, args ...any) error { return apierr.Invalid("filter", format, args...) }

func (s *statement) compare(c filter.Compare) (string, error) {
	if col, ok := s.subject.columns[c.Field]; ok {
		return s.compareColumn(c, col)
	}
	if name, ok := strings.CutPrefix(c.Field, metricsPrefix); ok && s.subject.metricRow != "" {
		return s.compareMetric(c, name)
	}
	if !s.subject.isTerm(c.Field) {
		return "", badFilter("nothing can be found by %q", c.Field)
	}
	if c.Field == termTask && c.Op != filter.Has && !slices.Contains(taskNames(), c.Value) {
		return "", badFilter("a task is one of %s, not %q", strings.Join(taskNames(), ", "), c.Value)
	}
	exists := `EXISTS (SELECT 1 FROM ` + s.subject.termTable + ` t WHERE ` + s.subject.termRow + ` AND t.key = ` + s.arg(c.Field)
	switch c.Op {
	case filter.Has:
		return exists + `)`, nil
	case filter.Equal:
		return exists + ` AND t.value = ` + s.arg(c.Value) + `)`, nil
	case filter.NotEqual:
		return `NOT ` + exists + ` AND t.value = ` + s.arg(c.Value) + `)`, nil
	case filter.Less, filter.LessEqual, filter.Greater, filter.GreaterEqual:
	}
	return "", badFilter("%q is a text: compare it with = or !=, or ask with : whether it is there", c.Field)
}

func (s subject) isTerm(field string) bool {
	label, is := strings.CutPrefix(field, labelsPrefix)
	return is && label != "" || s.terms[field]
}

func (s *statement) compareColumn(c filter.Compare, col column) (string, error) {
	if c.Op == filter.Has {
		return "", badFilter("%q is always there", c.Field)
	}
	if prefix, is := strings.CutSuffix(c.Value, filter.Any); is && c.Field == fieldName && c.Op == filter.Equal {
		if strings.Contains(prefix, filter.Any) {
			return "", badFilter("a name may have one *, at its end")
		}
		// Names hold nothing above a letter.
		return col.name + ` >= ` + s.arg(prefix) + ` AND ` + col.name + ` < ` + s.arg(prefix+"\x7f"), nil
	}
	v, err := col.read(c.Value)
	if err != nil {
		return "", badFilter("%s: %v", c.Field, err)
	}
	return col.name + ` ` + string(c.Op) + ` ` + s.arg(v), nil
}

func (s *statement) compareMetric(c filter.Compare, name string) (string, error) {
	exists := `EXISTS (SELECT 1 FROM registry_version_metrics x WHERE ` + s.subject.metricRow + ` AND x.name = ` + s.arg(name)
	if c.Op == filter.Has {
		return exists + `)`, nil
	}
	v, err := strconv.ParseFloat(c.Value, 64)
	if err != nil {
		return "", badFilter("%s is compared with a number", c.Field)
	}
	// The sign keeps planners from the index by value, in which they would look
	// through all that has the metric for each version.
	return exists + ` AND +x.value ` + string(c.Op) + ` ` + s.arg(v) + `)`, nil
}

func readText(value string) (any, error) { return value, nil }

func readNumber(value string) (any, error) {
	n, err := strconv.ParseInt(value, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("is compared with a whole number")
	}
	return n, nil
}

func readTime(value string) (any, error) {
	t, err := time.Parse(time.RFC3339Nano, value)
	if err != nil {
		return nil, fmt.Errorf("is compared with a time such as \"2030-01-02T03:04:05Z\"")
	}
	return micros(t), nil
}

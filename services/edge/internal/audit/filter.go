package audit

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"go.einride.tech/aip/filtering"
	expr "google.golang.org/genproto/googleapis/api/expr/v1alpha1"

	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
)

// The bounds on a filter.
const (
	MaxFilterBytes = 2048
	maxComparisons = 32
	maxNesting     = 48
)

// Filter selects records; the zero value selects all.
type Filter struct {
	sql  string // with a $ where each argument goes
	args []any
	// place: it asks for where in the trail records are.
	place bool
}

// OfPlace reports whether it asks for where in the trail records are.
func (f Filter) OfPlace() bool { return f.place }

// The kinds of a field.
const (
	kindText = iota
	kindNumber
	kindTime
	kindFlag
	kindList
	kindModel
	kindMethod
)

// unlisted is the method whose records are not in the index by method: most are its.
const unlisted = "'" + edgev1.OpenAIService_CreateChatCompletion_FullMethodName + "'"

type filterField struct {
	column string
	kind   int
	scale  float64 // from the filter's unit to the column's
}

func filterFields() map[string]filterField {
	out := map[string]filterField{
		"time":              {"time_us", kindTime, 0},
		"duration_ms":       {"duration_us", kindNumber, 1000},
		"prompt_tokens":     {"prompt_tokens", kindNumber, 1},
		"completion_tokens": {"completion_tokens", kindNumber, 1},
		"cost_micros":       {"cost_micros", kindNumber, 1},
		"sequence":          {"sequence", kindNumber, 1},
		"review":            {"review", kindFlag, 0},
		"content_missing":   {"content_missing", kindFlag, 0},
		"content_sha256":    {"content_sha256", kindText, 0},
		"findings":          {"findings", kindList, 0},
		"documents":         {"documents", kindList, 0},
		"error_reason":      {"reason", kindText, 0},
		"model":             {"served_by", kindModel, 0},
		"method":            {"method", kindMethod, 0},
	}
	for _, name := range []string{
		"tenant", "subject", "key_id", "resource", "decision", "address", "served_by", "experiment", "arm", "policy", "rule",
		"cache", "chain", "request_id", "id", "currency",
	} {
		out[name] = filterField{name, kindText, 0}
	}
	return out
}

// ParseFilter reads a filter in the language of AIP-160. Its error is for the caller.
func ParseFilter(text string) (Filter, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return Filter{}, nil
	}
	if len(text) > MaxFilterBytes || !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
		return Filter{}, fmt.Errorf("a filter has at most %d bytes of UTF-8", MaxFilterBytes)
	}
	// The parser recurses: too many parentheses are refused before it runs.
	if strings.Count(text, "(") > maxComparisons {
		return Filter{}, fmt.Errorf("a filter has at most %d parentheses", maxComparisons)
	}
	var parser filtering.Parser
	parser.Init(text)
	parsed, err := parser.Parse()
	if err != nil {
		return Filter{}, errors.New("the filter cannot be read: write comparisons such as decision = \"refused\", joined by AND, OR and NOT")
	}
	c := filterCompiler{fields: filterFields()}
	sql, err := c.node(parsed.GetExpr(), 0)
	return Filter{sql: sql, args: c.args, place: c.place}, err
}

type filterCompiler struct {
	fields map[string]filterField
	args   []any
	count  int
	place  bool
}

func (c *filterCompiler) node(e *expr.Expr, depth int) (string, error) {
	if depth > maxNesting {
		return "", errors.New("the filter is nested too deep")
	}
	call := e.GetCallExpr()
	if call == nil {
		return "", errors.New("a comparison such as decision = \"refused\" is expected")
	}
	switch call.GetFunction() {
	case filtering.FunctionAnd, filtering.FunctionFuzzyAnd:
		return c.join(call.GetArgs(), " AND ", depth)
	case filtering.FunctionOr:
		return c.join(call.GetArgs(), " OR ", depth)
	case filtering.FunctionNot:
		inner, err := c.join(call.GetArgs(), " AND ", depth)
		return "NOT " + inner, err
	case "=", "!=", "<", "<=", ">", ">=", ":":
		return c.compare(call.GetFunction(), call.GetArgs())
	default:
		return "", fmt.Errorf("functions such as %.40s() are not known", call.GetFunction())
	}
}

func (c *filterCompiler) join(args []*expr.Expr, with string, depth int) (string, error) {
	parts := make([]string, 0, len(args))
	for _, a := range args {
		part, err := c.node(a, depth+1)
		if err != nil {
			return "", err
		}
		parts = append(parts, part)
	}
	return "(" + strings.Join(parts, with) + ")", nil
}

func (c *filterCompiler) compare(op string, args []*expr.Expr) (string, error) {
	if c.count++; c.count > maxComparisons {
		return "", fmt.Errorf("a filter has at most %d comparisons", maxComparisons)
	}
	if len(args) != 2 {
		return "", fmt.Errorf("%s takes a field and a value", op)
	}
	name := args[0].GetIdentExpr().GetName()
	f, ok := c.fields[name]
	if !ok {
		return "", errors.New("the filter has a field that records do not have; they have time, tenant, subject, key_id, method, resource, decision, error_reason, address, model, policy, findings, review and others")
	}
	c.place = c.place || name == "chain" || name == "sequence"
	value, err := filterValue(args[1])
	if err != nil {
		return "", err
	}
	if !utf8.ValidString(value) || strings.ContainsRune(value, 0) {
		return "", fmt.Errorf("%s: the value is not UTF-8 without NUL", name)
	}
	return c.comparison(name, f, op, value)
}

func (c *filterCompiler) comparison(name string, f filterField, op, value string) (string, error) {
	equality := op == "=" || op == "!="
	switch f.kind {
	case kindTime:
		t, err := time.Parse(time.RFC3339Nano, value)
		if err != nil || op == ":" {
			return "", fmt.Errorf("%s is compared with a time such as \"2026-05-01T12:00:00Z\"", name)
		}
		return c.sql(f.column, sqlOp(op), t.UnixMicro()), nil
	case kindNumber:
		n, err := strconv.ParseFloat(value, 64)
		if err != nil || op == ":" {
			return "", fmt.Errorf("%s is compared with a number", name)
		}
		return c.sql(f.column, sqlOp(op), int64(n*f.scale)), nil
	case kindFlag:
		b, err := strconv.ParseBool(value)
		if err != nil || !equality {
			return "", fmt.Errorf("%s is = true or = false", name)
		}
		return c.sql(f.column, sqlOp(op), number(b)), nil
	case kindList:
		if op != ":" {
			return "", fmt.Errorf("%s are asked by %s:\"part of one\"", name, name)
		}
		if value == "*" {
			return c.sql(f.column, "<>", ""), nil
		}
		return c.like(f.column, "%"+escapeLike(value)+"%"), nil
	case kindModel:
		if !equality {
			return "", fmt.Errorf("%s is = or != a name such as small or small@v3", name)
		}
		sql := "(" + c.sql(f.column, "=", value) + " OR " + c.like(f.column, escapeLike(value)+"@%") + " OR " +
			c.like(f.column, escapeLike(value)+" %") + " OR " + c.sql("resource", "=", "model/"+value) + ")"
		if op == "!=" {
			sql = "NOT " + sql
		}
		return sql, nil
	case kindMethod:
		sql, err := c.text(f.column, op, value)
		if quoted := "'" + value + "'"; op == "=" && quoted != unlisted && !strings.HasSuffix(value, "*") {
			sql = "(" + sql + " AND method <> " + unlisted + ")" // what the index says that it has
		}
		return sql, err
	default:
		return c.text(f.column, op, value)
	}
}

func (c *filterCompiler) text(column, op, value string) (string, error) {
	if op == ":" {
		return c.sql(column, "<>", ""), nil
	}
	if prefix, ok := strings.CutSuffix(value, "*"); ok && (op == "=" || op == "!=") {
		sql := c.like(column, escapeLike(prefix)+"%")
		if op == "!=" {
			sql = "NOT " + sql
		}
		return sql, nil
	}
	return c.sql(column, sqlOp(op), value), nil
}

func (c *filterCompiler) sql(column, op string, arg any) string {
	c.args = append(c.args, arg)
	return column + " " + op + " $"
}

func (c *filterCompiler) like(column, pattern string) string {
	c.args = append(c.args, pattern)
	return column + ` LIKE $ ESCAPE '!'`
}

func escapeLike(s string) string {
	return strings.NewReplacer("!", "!!", "%", "!%", "_", "!_").Replace(s)
}

func sqlOp(op string) string {
	if op == "!=" {
		return "<>"
	}
	return op
}

func filterValue(e *expr.Expr) (string, error) {
	if id := e.GetIdentExpr(); id != nil {
		return id.GetName(), nil
	}
	switch v := e.GetConstExpr().GetConstantKind().(type) {
	case *expr.Constant_StringValue:
		return v.StringValue, nil
	case *expr.Constant_Int64Value:
		return strconv.FormatInt(v.Int64Value, 10), nil
	case *expr.Constant_DoubleValue:
		return strconv.FormatFloat(v.DoubleValue, 'g', -1, 64), nil
	case *expr.Constant_BoolValue:
		return strconv.FormatBool(v.BoolValue), nil
	}
	return "", errors.New("a value is expected on the right, in quotes where it is more than one word")
}

// selectStatement returns the statement of a query.
func selectStatement(q Query) (string, []any) {
	var where []string
	var args []any
	arg := func(v any) string {
		args = append(args, v)
		return "$" + strconv.Itoa(len(args))
	}
	if q.Tenant != "" {
		where = append(where, "tenant = "+arg(q.Tenant))
	}
	for _, only := range []struct{ column, value string }{
		{"request_id", q.RequestID}, {"id", q.ID}, {"subject", q.Subject}, {"key_id", q.KeyID},
	} {
		if only.value != "" {
			where = append(where, only.column+" = "+arg(only.value))
		}
	}
	if !q.From.IsZero() {
		where = append(where, "time_us >= "+arg(q.From.UnixMicro()))
	}
	if q.Filter.sql != "" {
		parts := strings.Split(q.Filter.sql, "$")
		var sql strings.Builder
		sql.WriteString(parts[0])
		for i, part := range parts[1:] {
			sql.WriteString(arg(q.Filter.args[i]) + part)
		}
		where = append(where, sql.String())
	}
	order, beyond := "DESC", "<"
	if q.Oldest {
		order, beyond = "ASC", ">"
	}
	if q.Before != (Position{}) {
		where = append(where, "(time_us, id) "+beyond+" ("+arg(q.Before.TimeMicros)+", "+arg(q.Before.ID)+")")
	}
	query := "SELECT " + columns + " FROM edge_audit"
	if len(where) > 0 {
		query += " WHERE " + strings.Join(where, " AND ")
	}
	return query + " ORDER BY time_us " + order + ", id " + order + " LIMIT " + arg(q.Limit), args
}

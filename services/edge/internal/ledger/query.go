package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/poterne/poterne/pkg/sqldb"
)

// The sizes of time that usage is summed by.
const (
	ByHour  = "hour"
	ByDay   = "day"
	ByMonth = "month"
)

// ByNames returns what usage can be summed by besides time, in the order of columns.
func ByNames() []string {
	return []string{"tenant", "key", "subject", "kind", "model", "version", "variant", "experiment", "arm"}
}

// column is the column of one of ByNames.
func column(by string) string {
	if by == "key" {
		return "key_id"
	}
	return by
}

// Query asks for sums.
type Query struct {
	// From and To bound the time, to the hour.
	From, To time.Time
	// Now is the present: nothing is later.
	Now time.Time
	// Time is hour, day, month (UTC) or empty, and By some of ByNames.
	Time string
	By   []string
	// The others restrict to one; empty: all.
	Tenant, KeyID, Subject, Kind, Model, Arm, Experiment string
	Version                                              int32
	Limit, Offset                                        int
}

// Row is a sum. What it is not by is zero.
type Row struct {
	Start time.Time
	Dimensions
	Sums
}

// Sums is what requests came to.
type Sums struct {
	Requests, Partial, Unpriced int64
	Tokens
	Cost int64
	// Hits is how many were answered from the response cache, besides Requests.
	Hits, SavedInput, SavedOutput int64
	// Documents is how many documents were ranked.
	Documents int64
}

// conditions returns the WHERE of a query, its table and its arguments.
func (q Query) conditions() (table, where string, args []any) {
	from, to := q.From.UnixMicro(), q.To.UnixMicro()
	from -= from % hourMicros
	table = "edge_usage_hours"
	if q.Time != ByHour && from%dayMicros == 0 && (to%dayMicros == 0 || !q.To.Before(q.Now.Truncate(time.Hour))) {
		table = "edge_usage_days"
	}
	args = []any{from, to}
	where = "start_us >= $1 AND start_us < $2"
	for _, c := range []struct{ column, value string }{
		{"tenant", q.Tenant}, {"key_id", q.KeyID}, {"subject", q.Subject}, {"kind", q.Kind}, {"model", q.Model}, {"arm", q.Arm}, {"experiment", q.Experiment},
	} {
		if c.value != "" {
			args = append(args, c.value)
			where += " AND " + c.column + " = $" + strconv.Itoa(len(args))
		}
	}
	if q.Version > 0 {
		args = append(args, q.Version)
		where += " AND version = $" + strconv.Itoa(len(args))
	}
	return table, where, args
}

// start is the expression of the beginning of a row's hour, day or month.
func (q Query) start() string {
	switch q.Time {
	case ByHour:
		return "start_us"
	case ByDay:
		return "(start_us - start_us % " + strconv.FormatInt(dayMicros, 10) + ")"
	case ByMonth:
		var b strings.Builder
		b.WriteString("(CASE")
		first := time.Date(q.From.UTC().Year(), q.From.UTC().Month(), 1, 0, 0, 0, 0, time.UTC)
		for m := first; m.Before(q.To); m = m.AddDate(0, 1, 0) {
			fmt.Fprintf(&b, " WHEN start_us < %d THEN %d", m.AddDate(0, 1, 0).UnixMicro(), m.UnixMicro())
		}
		b.WriteString(" ELSE 0 END)")
		return b.String()
	default:
		return "0"
	}
}

// List returns a page of sums, in the order of what they are by.
func (s *SQLStore) List(ctx context.Context, q Query) (out []Row, err error) {
	table, where, args := q.conditions()
	keys := []string{q.start()}
	for _, name := range ByNames() {
		switch {
		case slices.Contains(q.By, name):
			keys = append(keys, column(name))
		case name == "version":
			keys = append(keys, "0")
		default:
			keys = append(keys, "''")
		}
	}
	names := make([]string, len(keys))
	for i := range keys {
		names[i] = "k" + strconv.Itoa(i)
		keys[i] += " AS " + names[i]
	}
	args = append(args, q.Limit, q.Offset)
	query := fmt.Sprintf(`SELECT %[1]s, %[2]s FROM (SELECT %[3]s, requests, partial, unpriced, input, cached, output, cost, hits, saved_input, saved_output,
		reasoning, audio_input, audio_output, documents FROM %[4]s WHERE %[5]s) AS t
		GROUP BY %[1]s ORDER BY %[1]s LIMIT $%[6]d OFFSET $%[7]d`,
		strings.Join(names, ", "), sumsOf(), strings.Join(keys, ", "), table, where, len(args)-1, len(args))
	rows, err := s.db.Reader().QueryContext(ctx, query, s.db.Described(args)...)
	if err != nil {
		return nil, fmt.Errorf("ledger: list: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		r, err := scanRow(rows)
		if err != nil {
			return nil, fmt.Errorf("ledger: list: %w", err)
		}
		out = append(out, r)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("ledger: list: %w", err)
	}
	return out, nil
}

// sumsOf are the sums of the columns, in the order of Sums.
func sumsOf() string {
	columns := []string{"requests", "partial", "unpriced", "input", "cached", "output", "cost", "hits", "saved_input", "saved_output", "reasoning", "audio_input", "audio_output", "documents"}
	for i, c := range columns {
		columns[i] = "CAST(COALESCE(SUM(" + c + "), 0) AS BIGINT)"
	}
	return strings.Join(columns, ", ")
}

func scanRow(rows *sql.Rows) (Row, error) {
	var r Row
	var start int64
	err := rows.Scan(&start, &r.Tenant, &r.KeyID, &r.Subject, &r.Kind, &r.Model, &r.Version, &r.Variant, &r.Experiment, &r.Arm,
		&r.Requests, &r.Partial, &r.Unpriced, &r.Input, &r.Cached, &r.Output, &r.Cost, &r.Hits, &r.SavedInput, &r.SavedOutput,
		&r.Reasoning, &r.AudioInput, &r.AudioOutput, &r.Documents)
	r.Start = sqldb.FromMicros(start)
	return r, err
}

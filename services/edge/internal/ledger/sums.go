package ledger

import (
	"context"
	"database/sql"
	"maps"
	"slices"
	"time"

	"github.com/poterne/poterne/pkg/sqldb"
)

// sumKey is a row of the sums.
type sumKey struct {
	start int64
	Dimensions
}

type sum struct {
	requests, partial, unpriced, input, cached, output, cost, hits, savedInput, savedOutput int64
	reasoning, audioInput, audioOutput, documents                                           int64
}

func (s sum) plus(o sum) sum {
	return sum{
		s.requests + o.requests, s.partial + o.partial, s.unpriced + o.unpriced,
		s.input + o.input, s.cached + o.cached, s.output + o.output, s.cost + o.cost,
		s.hits + o.hits, s.savedInput + o.savedInput, s.savedOutput + o.savedOutput,
		s.reasoning + o.reasoning, s.audioInput + o.audioInput, s.audioOutput + o.audioOutput, s.documents + o.documents,
	}
}

const (
	hourMicros = int64(time.Hour / time.Microsecond)
	dayMicros  = 24 * hourMicros
)

// addSums adds entries to the sums by hour and by day.
func (s *SQLStore) addSums(ctx context.Context, tx *sql.Tx, entries []Entry) error {
	hours := sumsByHour(entries)
	days := make(map[sumKey]*sum, len(hours))
	for k, v := range hours {
		k.start -= k.start % dayMicros
		add(days, k, *v)
	}
	if err := insertSums(ctx, tx, s.hours, hours); err != nil {
		return err
	}
	return insertSums(ctx, tx, s.days, days)
}

// sumsByHour sums entries. Most are as the one before: to compare costs less than to
// look a key of ten columns up.
func sumsByHour(entries []Entry) map[sumKey]*sum {
	out := make(map[sumKey]*sum)
	var last *sum
	var of sumKey
	for i := range entries {
		e := &entries[i]
		at := e.Time.UnixMicro()
		key := sumKey{at - at%hourMicros, e.Dimensions}
		if last == nil || key != of {
			of, last = key, add(out, key, sum{})
		}
		*last = last.plus(sumOf(e))
	}
	return out
}

// add adds to a row, which it returns.
func add(rows map[sumKey]*sum, key sumKey, more sum) *sum {
	row := rows[key]
	if row == nil {
		row = new(sum)
		rows[key] = row
	}
	*row = row.plus(more)
	return row
}

func insertSums(ctx context.Context, tx *sql.Tx, table *sqldb.Inserter, rows map[sumKey]*sum) error {
	keys := slices.Collect(maps.Keys(rows))
	_, err := table.Insert(ctx, tx, len(keys), func(row *sqldb.Row, n int) {
		k, v := keys[n], rows[keys[n]]
		row.Number(k.start)
		row.Text(k.Tenant, k.KeyID, k.Subject, k.Kind, k.Model)
		row.Number(int64(k.Version))
		row.Text(k.Variant, k.Experiment, k.Arm)
		row.Number(v.requests, v.partial, v.unpriced, v.input, v.cached, v.output, v.cost, v.hits, v.savedInput, v.savedOutput,
			v.reasoning, v.audioInput, v.audioOutput, v.documents)
	})
	return err
}

func sumOf(e *Entry) sum {
	if e.Outcome == Cached {
		return sum{hits: number(e.Hit), savedInput: e.SavedInput, savedOutput: e.SavedOutput}
	}
	one := sum{
		requests: 1, input: e.Input, cached: e.Cached, output: e.Output, cost: e.Cost,
		reasoning: e.Reasoning, audioInput: e.AudioInput, audioOutput: e.AudioOutput, documents: e.Documents,
	}
	if e.Outcome != Whole {
		one.partial = 1
	}
	if e.Price == 0 {
		one.unpriced = 1
	}
	return one
}

// addToSum has a row of a table of sums grow by what is inserted.
const addToSum = `ON CONFLICT (start_us, tenant, key_id, subject, kind, model, version, variant, experiment, arm) DO UPDATE SET
	requests = t.requests + excluded.requests, partial = t.partial + excluded.partial, unpriced = t.unpriced + excluded.unpriced,
	input = t.input + excluded.input, cached = t.cached + excluded.cached, output = t.output + excluded.output, cost = t.cost + excluded.cost,
	hits = t.hits + excluded.hits, saved_input = t.saved_input + excluded.saved_input, saved_output = t.saved_output + excluded.saved_output,
	reasoning = t.reasoning + excluded.reasoning, audio_input = t.audio_input + excluded.audio_input,
	audio_output = t.audio_output + excluded.audio_output, documents = t.documents + excluded.documents`

const sumColumns = `start_us, tenant, key_id, subject, kind, model, version, variant, experiment, arm,
	requests, partial, unpriced, input, cached, output, cost, hits, saved_input, saved_output, reasoning, audio_input, audio_output, documents`

package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/apierr"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/registry/internal/outcome"
)

// How outcomes are kept. A mark outlives the batches that it keeps from being
// counted twice: those that are older than maxBatchAge are not counted at all.
const (
	fineWidth   = 10 * time.Second
	coarseWidth = time.Hour
	fineAge     = 2 * time.Hour
	outcomeAge  = 90 * 24 * time.Hour
	maxBatchAge = 14 * 24 * time.Hour
	markAge     = 30 * 24 * time.Hour
)

// outcomeKey is a row of sums.
type outcomeKey struct {
	model, experiment string
	width, bucket     int64
	arm               string
	version           int32
	digest, segment   string
	prompt            string // name@v3
}

func compareOutcomes(a, b outcomeKey) int {
	return cmp.Or(cmp.Compare(a.model, b.model), cmp.Compare(a.experiment, b.experiment), cmp.Compare(a.width, b.width),
		cmp.Compare(a.bucket, b.bucket), cmp.Compare(a.arm, b.arm), cmp.Compare(a.version, b.version),
		cmp.Compare(a.digest, b.digest), cmp.Compare(a.segment, b.segment), cmp.Compare(a.prompt, b.prompt))
}

// outcomes runs fn in a transaction that takes turns with all others that change
// outcomes. It takes no revision.
func (s *Store) outcomes(ctx context.Context, what string, fn func(ctx context.Context, c *change) error) error {
	err := s.db.InTurn(ctx, func(ctx context.Context, tx *sql.Tx) error {
		c := &change{tx: tx, now: s.opts.Clock.Now().UTC()}
		if err := c.exec(ctx, `UPDATE registry_outcome_state SET tidied = tidied WHERE id = 1`); err != nil {
			return err
		}
		return fn(ctx, c)
	})
	if errors.Is(err, errUnchanged) {
		return nil
	}
	return failure(ctx, err, "%s", what)
}

// AddOutcomes counts batches of one replica, in their order. Those that are not
// after the last one that was counted of this replica are left out, and so are
// those that are too old; it returns how many were counted. All of it happens or
// nothing. Of models that are not there nothing is kept.
func (s *Store) AddOutcomes(ctx context.Context, batches []*registryv1.OutcomeBatch) (applied int, err error) {
	if err := checkBatches(batches); err != nil {
		return 0, err
	}
	err = s.outcomes(ctx, "add outcomes", func(ctx context.Context, c *change) error {
		applied = 0
		m, err := readMark(ctx, c.tx, batches[0].GetReplica())
		if err != nil {
			return err
		}
		sums := make(map[outcomeKey]*registryv1.OutcomeSums)
		var exposures []*registryv1.Exposure
		for _, b := range batches {
			if !m.before(b) {
				continue
			}
			m.epoch, m.sequence = b.GetEpoch(), b.GetSequence()
			if b.GetStartTime().AsTime().Before(c.now.Add(-maxBatchAge)) {
				continue
			}
			applied++
			m.dropped += b.GetDropped()
			gather(sums, b, c.now)
			exposures = append(exposures, b.GetExposures()...)
		}
		if err := c.addSums(ctx, sums); err != nil {
			return err
		}
		if err := c.addExposures(ctx, exposures); err != nil {
			return err
		}
		return c.exec(ctx, `INSERT INTO registry_outcome_marks (replica, epoch, sequence, dropped, update_time)
			VALUES ($1, $2, $3, $4, $5) ON CONFLICT (replica) DO UPDATE SET
			epoch = excluded.epoch, sequence = excluded.sequence, dropped = excluded.dropped, update_time = excluded.update_time`,
			batches[0].GetReplica(), m.epoch, m.sequence, m.dropped, micros(c.now))
	})
	return applied, err
}

// mark is the last batch of a replica that was counted.
type mark struct{ epoch, sequence, dropped int64 }

func readMark(ctx context.Context, q querier, replica string) (m mark, err error) {
	err = q.QueryRowContext(ctx, `SELECT epoch, sequence, dropped FROM registry_outcome_marks WHERE replica = $1`, replica).
		Scan(&m.epoch, &m.sequence, &m.dropped)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return m, fmt.Errorf("mark of a replica: %w", err)
	}
	return m, nil
}

func (m mark) before(b *registryv1.OutcomeBatch) bool {
	return cmp.Or(cmp.Compare(b.GetEpoch(), m.epoch), cmp.Compare(b.GetSequence(), m.sequence)) > 0
}

// checkBatches refuses what the store could never keep: the sender would send it
// again for ever.
func checkBatches(batches []*registryv1.OutcomeBatch) error {
	if len(batches) == 0 {
		return apierr.Invalid("batches", "there are none")
	}
	name := func(s string) bool { return s == "" || names.MatchString(s) }
	for i, b := range batches {
		if !names.MatchString(b.GetReplica()) || b.GetReplica() != batches[0].GetReplica() {
			return apierr.Invalid(fmt.Sprintf("batches[%d].replica", i), "must be a name, the same in all batches")
		}
		for j, o := range b.GetOutcomes() {
			if !name(o.GetExperiment()) || !name(o.GetArm()) || !name(o.GetSegment()) || !plain(o.GetDigest()) || !name(o.GetPrompt()) {
				return apierr.Invalid(fmt.Sprintf("batches[%d].outcomes[%d]", i, j), "its experiment, arm, segment, digest and prompt must be names")
			}
		}
		for j, e := range b.GetExposures() {
			ok := name(e.GetExperiment()) && plain(e.GetEtag())
			for _, sh := range e.GetShares() {
				ok = ok && name(sh.GetArm())
			}
			if !ok {
				return apierr.Invalid(fmt.Sprintf("batches[%d].exposures[%d]", i, j), "its experiment, etag and arms must be names")
			}
		}
	}
	return nil
}

// plain reports whether s is of printable ASCII.
func plain(s string) bool {
	return !slices.ContainsFunc([]byte(s), func(b byte) bool { return b <= ' ' || b > '~' })
}

// gather adds a batch's outcomes to the rows that they belong to.
func gather(sums map[outcomeKey]*registryv1.OutcomeSums, b *registryv1.OutcomeBatch, now time.Time) {
	for _, o := range b.GetOutcomes() {
		k := keyOf(o, b.GetStartTime().AsTime(), now)
		if sums[k] == nil {
			sums[k] = new(registryv1.OutcomeSums)
		}
		outcome.Add(sums[k], o.GetSums())
	}
}

func keyOf(o *registryv1.Outcome, at, now time.Time) outcomeKey {
	if at.After(now) {
		at = now // a replica whose clock is ahead
	}
	width := fineWidth
	if at.Before(now.Add(-fineAge)) {
		width = coarseWidth
	}
	return outcomeKey{
		o.GetModel(), o.GetExperiment(), int64(width / time.Second), at.Truncate(width).Unix(),
		o.GetArm(), o.GetVersion(), o.GetDigest(), o.GetSegment(), promptColumn(o),
	}
}

// promptColumn names a version of a prompt in one text: no prompt's name holds an @.
func promptColumn(o *registryv1.Outcome) string {
	if o.GetPrompt() == "" {
		return ""
	}
	return o.GetPrompt() + "@v" + strconv.Itoa(int(o.GetPromptVersion()))
}

// setPrompt is promptColumn's reverse.
func setPrompt(o *registryv1.Outcome, column string) {
	name, number, ok := strings.Cut(column, "@v")
	n, err := strconv.ParseInt(number, 10, 32)
	if ok && err == nil {
		o.Prompt, o.PromptVersion = name, int32(n)
	}
}

// addSums adds to the rows of models that are there.
func (c *change) addSums(ctx context.Context, sums map[outcomeKey]*registryv1.OutcomeSums) error {
	keys := make([]outcomeKey, 0, len(sums))
	for k := range sums {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, compareOutcomes)
	known := make(map[string]bool)
	for _, k := range keys {
		ok, err := c.knows(ctx, known, k.model)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		if err := c.addSum(ctx, k, sums[k]); err != nil {
			return err
		}
	}
	return nil
}

func (c *change) addSum(ctx context.Context, k outcomeKey, more *registryv1.OutcomeSums) error {
	var stored []byte
	err := c.tx.QueryRowContext(ctx, `SELECT sums FROM registry_outcomes WHERE model = $1 AND experiment = $2 AND width = $3
		AND bucket = $4 AND arm = $5 AND version = $6 AND digest = $7 AND segment = $8 AND prompt = $9`,
		k.model, k.experiment, k.width, k.bucket, k.arm, k.version, k.digest, k.segment, k.prompt).Scan(&stored)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("sums: %w", err)
	}
	total := new(registryv1.OutcomeSums)
	if err := proto.Unmarshal(stored, total); err != nil {
		return fmt.Errorf("read sums: %w", err)
	}
	outcome.Add(total, more)
	raw, err := proto.Marshal(total)
	if err != nil {
		return fmt.Errorf("write sums: %w", err)
	}
	return c.exec(ctx, `INSERT INTO registry_outcomes (model, experiment, width, bucket, arm, version, digest, segment, prompt, sums)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
		ON CONFLICT (model, experiment, width, bucket, arm, version, digest, segment, prompt) DO UPDATE SET sums = excluded.sums`,
		k.model, k.experiment, k.width, k.bucket, k.arm, k.version, k.digest, k.segment, k.prompt, raw)
}

// knows reports whether a model is there, and remembers it.
func (c *change) knows(ctx context.Context, known map[string]bool, model string) (bool, error) {
	if ok, asked := known[model]; asked {
		return ok, nil
	}
	var n int
	if names.MatchString(model) {
		if err := c.tx.QueryRowContext(ctx, `SELECT count(*) FROM registry_models WHERE name = $1`, model).Scan(&n); err != nil {
			return false, fmt.Errorf("model: %w", err)
		}
	}
	known[model] = n > 0
	return n > 0, nil
}

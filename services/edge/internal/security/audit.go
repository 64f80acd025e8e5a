package security

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/poterne/poterne/pkg/lifecycle"
	"github.com/poterne/poterne/pkg/sqldb"
	"github.com/poterne/poterne/pkg/telemetry"
	"github.com/poterne/poterne/services/edge/auditproof"
	"github.com/poterne/poterne/services/edge/internal/admin"
	"github.com/poterne/poterne/services/edge/internal/audit"
	"github.com/poterne/poterne/services/edge/internal/metrics"
	"github.com/poterne/poterne/services/edge/internal/requests"
)

// pruneInterval is how often old audit records are deleted.
const pruneInterval = time.Hour

// auditProof is what proves the trail, and how it can be read.
type auditProof struct {
	sink       *audit.SQLSink // for chains and checkpoints; the records may be elsewhere
	keys       *audit.Keys
	checkpoint *audit.Checkpointer
	listed     bool // the records are in sink
	trustStore bool // the keys of all chains in sink count
	log        *slog.Logger
	prune      func(ctx context.Context) error
}

// The names, in the data directory, of what the trail needs.
const (
	auditKeyFile    = "audit.key"
	auditJournalDir = "audit-journal"
)

// openTrail opens the trail: it brings into the sink what an earlier process left in
// the journal, ends its chain, and begins one of its own.
func (s *Security) openTrail(ctx context.Context, cfg Config, d Deps, db *sqldb.DB, m *metrics.Metrics) error {
	log := d.Telemetry.Logger
	s.proof.sink, s.proof.log = audit.NewSQLSink(db), log
	var sink audit.Sink = s.proof.sink
	s.proof.listed = cfg.Audit.Sink != audit.SinkFile
	if !s.proof.listed {
		file, err := audit.OpenFileSink(cfg.Audit.File)
		if err != nil {
			return err
		}
		s.close = append(s.close, file.Close)
		sink = file
	}
	s.trail = audit.NewTrail(cfg.Audit, sink, d.Clock, log, m)
	if err := s.openKeys(ctx, cfg, d); err != nil {
		return err
	}
	var journal *audit.Journal
	var left audit.Replayed
	if cfg.Audit.Journal.Enabled {
		dir := cfg.Audit.Journal.Directory
		if dir == "" {
			dir = filepath.Join(d.DataDir, auditJournalDir)
		}
		var err error
		if journal, err = audit.OpenJournal(dir, cfg.Audit.Journal.Sync); err != nil {
			return err
		}
		s.close = append(s.close, func() error { return journal.Close(-1) })
		if left, err = journal.Replay(ctx, sink); err != nil {
			return err
		}
	}
	reg, err := s.proof.sink.Register(ctx, d.IDs.New(), s.proof.keys.Own(), d.Clock.Now())
	if err != nil {
		return err
	}
	if err := s.trail.Proven(audit.NewChain(reg), journal); err != nil {
		return err
	}
	if s.proof.checkpoint, err = audit.NewCheckpointer(cfg.Audit.Checkpoints, s.trail, s.proof.sink, s.proof.keys, d.Clock, log, m); err != nil {
		return err
	}
	s.takeOver(ctx, left, log)
	if cfg.Audit.Retention > 0 && s.proof.listed {
		s.proof.prune = func(ctx context.Context) error { return s.pruneOnce(ctx, cfg, d) }
	}
	return nil
}

// openKeys opens the key that signs, and has those of other replicas count.
func (s *Security) openKeys(ctx context.Context, cfg Config, d Deps) error {
	path := cfg.Audit.Checkpoints.KeyFile
	if path == "" {
		path = filepath.Join(d.DataDir, auditKeyFile)
	}
	var err error
	// Not from d.Random: what it gives is counted on by the tests that set it.
	if s.proof.keys, err = audit.LoadKeys(path, rand.Reader, cfg.Audit.Checkpoints.TrustedKeys); err != nil {
		return err
	}
	s.proof.trustStore = len(cfg.Audit.Checkpoints.TrustedKeys) == 0
	return s.trustKeys(ctx)
}

// trustKeys has the keys of all chains in the store count, unless the configuration
// says which do.
func (s *Security) trustKeys(ctx context.Context) error {
	if !s.proof.trustStore {
		return nil
	}
	regs, err := s.proof.sink.Registrations(ctx)
	if err != nil {
		return err
	}
	for _, r := range regs {
		if err := s.proof.keys.Trust(r.Key); err != nil {
			s.proof.log.ErrorContext(ctx, "an audit chain's key cannot be read; verify the trail", slog.String(metrics.KeyChain, r.Chain), telemetry.Err(err))
		}
	}
	return nil
}

// takeOver records what the processes before left unfinished, and ends their chains.
func (s *Security) takeOver(ctx context.Context, left audit.Replayed, log *slog.Logger) {
	if left.Records > 0 || left.Skipped > 0 {
		log.InfoContext(ctx, "audit records of a process that ended early were brought in",
			slog.Int(metrics.KeyRecords, left.Records), slog.Int(metrics.KeySkipped, left.Skipped))
	}
	var errs []error
	for _, rec := range left.Unfinished {
		errs = append(errs, s.trail.Append(ctx, rec))
	}
	errs = append(errs, s.trail.Flush(ctx))
	if s.proof.listed {
		for _, chain := range left.Chains {
			errs = append(errs, s.proof.checkpoint.EndChain(ctx, s.proof.sink, chain))
		}
	}
	err := errors.Join(errs...)
	if err == nil {
		err = left.Done()
	}
	if err != nil {
		// The files stay, and the next start does it again.
		log.ErrorContext(ctx, "what a process before left in the audit journal is not all taken over", telemetry.Err(err))
	}
}

// listing returns how the trail can be read, or nil when it cannot.
func (s *Security) listing() admin.Records {
	if !s.proof.listed {
		return nil
	}
	return s.trail.Listing(s.proof.sink)
}

// maxOnTheWay bounds how long a record that another edge is writing is waited for.
const maxOnTheWay = time.Second

// found is listing for who looks for one request.
func (s *Security) found() requests.Records {
	if !s.proof.listed {
		return nil
	}
	return s.trail.Listing(s.proof.sink)
}

// prover returns what proves the trail, or nil when it is kept in files.
func (s *Security) prover() admin.Proof {
	if !s.proof.listed {
		return nil
	}
	return &prover{security: s}
}

type prover struct{ security *Security }

// Verify verifies the trail.
func (p *prover) Verify(ctx context.Context, in audit.VerifyRange) (auditproof.Report, error) {
	if err := p.security.trustKeys(ctx); err != nil {
		return auditproof.Report{}, err
	}
	return p.security.trail.Verify(ctx, p.security.proof.sink, p.security.proof.keys, in, func(int64) error { return ctx.Err() })
}

// Registrations returns every chain's.
func (p *prover) Registrations(ctx context.Context) ([]auditproof.Registration, error) {
	return p.security.proof.sink.Registrations(ctx)
}

// Everything gives one state of the trail.
func (p *prover) Everything(ctx context.Context, proof func([]auditproof.Registration, []string) error, records func([]audit.Record) error) error {
	if err := p.security.trail.Flush(ctx); err != nil {
		return err
	}
	return p.security.proof.sink.Everything(ctx, proof, records)
}

// Proofs gives the records that q selects with inclusion proofs. What this process
// wrote is brought under a checkpoint before.
func (p *prover) Proofs(ctx context.Context, q audit.Query, keys func([]string) error, records func([]audit.ProvenRecord) error) error {
	if err := p.security.trustKeys(ctx); err != nil {
		return err
	}
	if err := p.security.proof.checkpoint.Sign(ctx, false); err != nil {
		return err
	}
	return p.security.proof.sink.Proofs(ctx, q, p.security.proof.keys, keys, records)
}

// Consistency proves that a chain begins with what it was.
func (p *prover) Consistency(ctx context.Context, chain string, from, to int64) ([]auditproof.Hash, error) {
	if err := p.security.trustKeys(ctx); err != nil {
		return nil, err
	}
	return p.security.proof.sink.Consistency(ctx, chain, from, to, p.security.proof.keys)
}

// AuditRefusing returns why requests are refused because they could not be recorded;
// nil when they are not.
func (s *Security) AuditRefusing() error { return s.trail.Refusing() }

// auditComponents are the trail's parts, in the order of starting: the records are
// all written before the last checkpoint is signed, and that is brought elsewhere.
func (s *Security) auditComponents() []lifecycle.Component {
	out := s.proof.checkpoint.Places()
	out = append(out, s.proof.checkpoint.Component(), s.trail.Component())
	if s.Contents != nil {
		out = append(out, s.Contents.Component())
	}
	if s.proof.prune != nil {
		out = append(out, lifecycle.Component{Name: "audit retention", Run: func(ctx context.Context) error {
			return lifecycle.Every(ctx, s.deps.Clock, pruneInterval, nil, s.proof.prune)
		}})
	}
	return out
}

func (s *Security) pruneOnce(ctx context.Context, cfg Config, d Deps) error {
	err := s.trustKeys(ctx)
	var n int64
	if err == nil {
		before := d.Clock.Now().Add(-cfg.Audit.Retention)
		if n, err = s.proof.sink.Prune(ctx, before, s.proof.keys); err == nil {
			_, err = s.proof.sink.PruneContents(ctx, before)
		}
	}
	if err != nil {
		// Tried again with the next turn; nothing depends on it before.
		d.Telemetry.Logger.ErrorContext(ctx, "old audit records cannot be deleted", telemetry.Err(err))
	} else if n > 0 {
		d.Telemetry.Logger.InfoContext(ctx, "old audit records deleted", slog.Int64(metrics.KeyRecords, n))
	}
	return nil
}

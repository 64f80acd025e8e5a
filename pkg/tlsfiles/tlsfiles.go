// Package tlsfiles is TLS from files: a certificate, its key and a bundle of
// authorities that are read again when they change, so that they are rotated
// without a restart, and on top of them mutual TLS between services, which know
// each other by their SPIFFE ids. It knows no service. Start reading at Open for
// the files, and at Config for mutual TLS.
package tlsfiles

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/telemetry"
)

// Interval is the least time between two looks at the files.
const Interval = time.Second

// Files says where the parts lie, in PEM. The certificate's file holds the whole
// chain, the leaf first. Without CertFile and KeyFile there is no certificate,
// and without CAFile there are no authorities.
type Files struct{ CertFile, KeyFile, CAFile string }

// Options is what Open needs besides the files.
type Options struct {
	// Name tells the files from others of this process, in metrics and logs: it is
	// the section's name.
	Name      string
	Clock     clock.Clock
	Telemetry *telemetry.Telemetry
	// SPIFFE refuses certificates without an id that is one (X.509-SVID).
	SPIFFE bool
}

// Material is what was read at one time. It must not be changed.
type Material struct {
	// Certificate is nil without a CertFile.
	Certificate *tls.Certificate
	// Authorities is nil without a CAFile.
	Authorities *x509.CertPool

	digest [32]byte
}

// Source is files that are looked at again whenever a connection is made, at
// most once in an Interval. What cannot be used, a certificate that has expired
// or whose key is another's or half a file, is not taken: what was read before
// goes on. It is safe for concurrent use.
type Source struct {
	files   Files
	opts    Options
	metrics *instruments

	current atomic.Pointer[Material]
	// next is when the files are looked at again, in nanoseconds since 1970.
	next   atomic.Int64
	mu     sync.Mutex
	failed [32]byte // what was refused last, which is logged once
}

// Open reads the files, and fails when they cannot be used.
func Open(files Files, o Options) (*Source, error) {
	s := &Source{files: files, opts: o}
	m, err := files.read(o.Clock.Now(), o.SPIFFE)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.Name, err)
	}
	s.current.Store(m)
	s.next.Store(o.Clock.Now().Add(Interval).UnixNano())
	if s.metrics, err = newInstruments(o.Telemetry.Meter(scope), s); err != nil {
		return nil, err
	}
	return s, nil
}

// Current returns what the files hold, or held when they could last be used.
func (s *Source) Current() *Material {
	now := s.opts.Clock.Now()
	if next := s.next.Load(); now.UnixNano() < next || !s.next.CompareAndSwap(next, now.Add(Interval).UnixNano()) {
		return s.current.Load()
	}
	s.reload(now)
	return s.current.Load()
}

// reload takes what the files hold now, if it can be used.
func (s *Source) reload(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ctx, log := context.Background(), s.opts.Telemetry.Logger
	m, err := s.files.read(now, s.opts.SPIFFE)
	if err != nil {
		s.metrics.failures.Add(ctx, 1, s.metrics.name)
		if refused, ok := errors.AsType[*refusedError](err); !ok || refused.digest != s.failed {
			if ok {
				s.failed = refused.digest
			}
			log.ErrorContext(ctx, "the certificate's files cannot be used; the last ones go on",
				slog.String(keyName, s.opts.Name), telemetry.Err(err))
		}
		return
	}
	s.failed = [32]byte{}
	if m.digest == s.current.Load().digest {
		return
	}
	s.current.Store(m)
	s.metrics.reloads.Add(ctx, 1, s.metrics.name)
	attrs := []slog.Attr{slog.String(keyName, s.opts.Name)}
	if m.Certificate != nil {
		attrs = append(attrs, slog.Time(keyNotAfter, m.Certificate.Leaf.NotAfter))
	}
	log.LogAttrs(ctx, slog.LevelInfo, "the certificate's files were read again", attrs...)
}

// expiresIn is how long the certificate is still good for, and whether there is
// one.
func (s *Source) expiresIn() (time.Duration, bool) {
	m := s.Current()
	if m.Certificate == nil {
		return 0, false
	}
	return m.Certificate.Leaf.NotAfter.Sub(s.opts.Clock.Now()), true
}

// instruments is what a Source counts.
type instruments struct {
	reloads, failures metric.Int64Counter
	name              metric.MeasurementOption
}

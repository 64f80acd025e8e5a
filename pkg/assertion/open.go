package assertion

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/jose"
	"github.com/poterne/poterne/pkg/lifecycle"
	"github.com/poterne/poterne/pkg/signing"
	"github.com/poterne/poterne/pkg/telemetry"
)

// Options is what a service tells of itself.
type Options struct {
	// Service is its name in discovery: the issuer and the audience.
	Service string
	Config  Config
	// Access is who may call its methods; empty for one that is not called.
	Access Table
	// Required says which methods ask for a caller while callers are taken at their
	// word; nil asks it of each that only callers may call.
	Required func(fullMethod string) bool
	// PlatformTenant is whose callers methods ask for that act for the platform;
	// empty asks nothing.
	PlatformTenant string
	Clock          clock.Clock
	Telemetry      *telemetry.Telemetry
}

// Assertions is what a service says and believes of callers. It is safe for
// concurrent use.
type Assertions struct {
	opts    Options
	signer  atomic.Pointer[jose.Signer] // nil: nothing is signed
	trust   atomic.Pointer[trust]       // nil: callers are taken at their word
	refused metric.Int64Counter
	// believed are callers that came without a signature.
	believed *cache[string, *statement]

	mu     sync.Mutex // of what the reloading and the log remember
	said   map[refusalError]time.Time
	failed string
}

// Open reads the keys that the configuration names.
func Open(o Options) (*Assertions, error) {
	a := &Assertions{opts: o, said: make(map[refusalError]time.Time), believed: newCache[string, *statement](believedBytes)}
	var err error
	if a.refused, err = o.Telemetry.Meter("poterne/identity").Int64Counter("poterne.identity.refusals", metric.WithUnit("{call}"),
		metric.WithDescription("Calls refused because of the identity that they show, by cause.")); err != nil {
		return nil, fmt.Errorf("identity: %w", err)
	}
	if err := a.load(); err != nil {
		return nil, fmt.Errorf("identity: %w", err)
	}
	return a, nil
}

// load reads the files; what has not changed stays as it is.
func (a *Assertions) load() error {
	if path := a.opts.Config.SigningKeyFile; path != "" {
		text, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("signing_key_file: %w", err)
		}
		key, err := signing.ParsePrivate(text)
		if err != nil {
			return fmt.Errorf("signing_key_file: %w", err)
		}
		signer, err := jose.NewSigner(Thumbprint(signing.Public(key)), key)
		if err != nil {
			return fmt.Errorf("signing_key_file: %w", err)
		}
		if had := a.signer.Load(); had == nil || had.KeyID() != signer.KeyID() {
			a.signer.Store(signer)
		}
	}
	if path := a.opts.Config.TrustedKeys; path != "" {
		text, err := readFiles(path)
		if err != nil {
			return err
		}
		had := a.trust.Load()
		if had != nil && had.text.equal(text) {
			return nil
		}
		keys, err := text.parse()
		if err != nil {
			return err
		}
		if had == nil && len(keys) == 0 {
			return fmt.Errorf("trusted_keys: there is no key in %s", path)
		}
		a.trust.Store(newTrust(text, keys))
	}
	return nil
}

// Reload looks at the files again. While they cannot be read what was read before
// holds.
func (a *Assertions) Reload(ctx context.Context) {
	err := a.load()
	message := ""
	if err != nil {
		message = err.Error()
	}
	a.mu.Lock()
	again := message == a.failed
	a.failed = message
	a.mu.Unlock()
	switch log := a.opts.Telemetry.Logger; {
	case again:
	case err != nil:
		log.ErrorContext(ctx, "the keys of the identity cannot be read; those of before stay", telemetry.Err(err))
	default:
		log.InfoContext(ctx, "the keys of the identity can be read again")
	}
}

// Component looks at the files from time to time, where there are any.
func (a *Assertions) Component() lifecycle.Component {
	return lifecycle.Component{Name: a.opts.Service + ": identity", Run: func(ctx context.Context) error {
		if a.signer.Load() == nil && a.trust.Load() == nil {
			return nil
		}
		for clock.Sleep(ctx, a.opts.Clock, a.opts.Config.ReloadInterval) == nil {
			a.Reload(ctx)
		}
		return nil
	}}
}

// Warn says once, at the start of a process of its own, that callers are not
// proven.
func (a *Assertions) Warn(ctx context.Context, ends Ends) {
	if ends.Sends && a.signer.Load() == nil || ends.Receives && a.trust.Load() == nil {
		a.opts.Telemetry.Logger.WarnContext(ctx,
			"identities between services are not signed: whoever reaches a service can name any caller (identity.signing_key_file, identity.trusted_keys)")
	}
}

// quiet is for how long a cause is not logged again.
const quiet = 10 * time.Second

func (a *Assertions) note(ctx context.Context, method string, cause refusalError) {
	a.refused.Add(ctx, 1, metric.WithAttributes(attribute.String("cause", string(cause))))
	now := a.opts.Clock.Now()
	a.mu.Lock()
	last, ok := a.said[cause]
	if ok = ok && now.Sub(last) < quiet; !ok {
		a.said[cause] = now
	}
	a.mu.Unlock()
	if !ok {
		a.opts.Telemetry.Logger.WarnContext(ctx, "a call was refused for the identity that it shows",
			slog.String("cause", string(cause)), slog.String("method", method))
	}
}

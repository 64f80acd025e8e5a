package issue

import (
	"context"
	"log/slog"
	"net/http"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/lifecycle"
	"github.com/poterne/poterne/pkg/sqldb"
)

// Deps is what New needs besides its configuration.
type Deps struct {
	DB     *sqldb.DB
	Keys   Keys
	Clock  clock.Clock
	Logger *slog.Logger
	// Others are the issuers that are trusted besides: what they sign is theirs.
	Others []string
	// CacheSize is how many verified tokens are remembered.
	CacheSize int
}

// Service issues tokens and accepts them. It is safe for concurrent use.
type Service struct {
	config        Config
	deps          Deps
	ring          *keyring
	authenticator *Authenticator
}

// New returns a service whose keys are in the store, shared by all replicas on it.
// It reads and makes none before the first token.
func New(c Config, d Deps) (*Service, error) {
	s, err := newSealer(c.KeyEncryptionSecret)
	if err != nil {
		return nil, err
	}
	ring := &keyring{config: c, store: keyStore{d.DB}, sealer: s, clock: d.Clock, log: d.Logger}
	a, err := newAuthenticator(c, ring, d.Keys, d.Clock, d.Others, d.CacheSize)
	if err != nil {
		return nil, err
	}
	return &Service{config: c, deps: d, ring: ring, authenticator: a}, nil
}

// Authenticator accepts what the service has issued.
func (s *Service) Authenticator() *Authenticator { return s.authenticator }

// Endpoint answers requests for tokens, which have passed door.
func (s *Service) Endpoint(door Door, p Possession) *Endpoint {
	return &Endpoint{issuer: issuer{s.config, s.ring, s.deps.Clock}, keys: s.deps.Keys, door: door, possession: p}
}

// Pages is what answers GET, by path.
func (s *Service) Pages(door Door) map[string]http.Handler {
	return map[string]http.Handler{
		KeysPath:   look(door, s.ring.serveKeys),
		ServerPath: look(door, document(serverMetadata(s.config))),
	}
}

// Page answers with what the gateway says of itself as a protected resource.
func (r Resource) Page(door Door) http.Handler { return look(door, document(r.metadata())) }

// Component makes the next key in time, once there is a first one.
func (s *Service) Component() lifecycle.Component {
	return lifecycle.Component{Name: "token keys", Run: func(ctx context.Context) error {
		return lifecycle.Every(ctx, s.deps.Clock, keepEvery, nil, s.ring.watch)
	}}
}

func unreadable(err error) error {
	return apierr.Wrap(apierr.Unavailable, err, "the keys cannot be read now").WithRetryAfter(retryAfter)
}

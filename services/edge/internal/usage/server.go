package usage

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/identity"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	"github.com/poterne/poterne/services/edge/internal/apikey"
	"github.com/poterne/poterne/services/edge/internal/authz"
)

const (
	defaultPageSize = 100
	// maxOffset bounds how far a list is read on.
	maxOffset = 1_000_000
)

// Authorizer decides on what depends on whose something is.
type Authorizer interface {
	Allowed(ctx context.Context, c identity.Caller, action string, r authz.Resource) bool
}

// Keys is where API keys are looked up.
type Keys interface {
	// Get returns a key; apikey.ErrNotFound when there is none.
	Get(ctx context.Context, id string) (apikey.Record, error)
	// List returns keys by id.
	List(ctx context.Context, f apikey.Filter) ([]apikey.Record, error)
}

// ServerDeps is what a Server works with; all of it is needed.
type ServerDeps struct {
	Authorizer Authorizer
	Keys       Keys
	// Task returns what a model or a version (name, name@v3) is for, and whether it is
	// known; true where nobody can tell.
	Task func(reference string) (commonv1.Task, bool)
	Log  *slog.Logger
}

// Server is the UsageService. Every method's permission was checked before it is
// called; what depends on whose something is, is checked here. It is safe for
// concurrent use.
type Server struct {
	edgev1.UnimplementedUsageServiceServer
	usage *Usage // nil: usage is off
	authz Authorizer
	keys  Keys
	task  func(reference string) (commonv1.Task, bool)
	log   *slog.Logger
}

// NewServer returns a server; u is nil where usage is off.
func NewServer(u *Usage, d ServerDeps) *Server {
	return &Server{usage: u, authz: d.Authorizer, keys: d.Keys, task: d.Task, log: d.Log}
}

// begin returns who asks; the steps before have put it there.
func (s *Server) begin(ctx context.Context) (identity.Caller, error) {
	c, ok := identity.FromContext(ctx)
	switch {
	case !ok:
		return c, apierr.New(apierr.Internal, "the request was not authenticated")
	case s.usage == nil:
		return c, apierr.New(apierr.Unimplemented, "usage is not counted here: usage.enabled is false")
	}
	return c, nil
}

// tenant returns whose things a caller asks about: those of the named tenant, of
// all (empty) for the platform's administrators, or of the own.
func (s *Server) tenant(ctx context.Context, c identity.Caller, named, resource string) string {
	// No tenant has the name *, so only a rule for any tenant can match.
	if named == "" && !s.authz.Allowed(ctx, c, "list", authz.Resource{Type: resource, Tenant: "*"}) {
		return c.Tenant
	}
	return named
}

// platform reports whether the caller may do something in every tenant.
func (s *Server) platform(ctx context.Context, c identity.Caller, action string) bool {
	return s.authz.Allowed(ctx, c, action, authz.Resource{Type: "budget", Tenant: "*"})
}

func pageOf(size int32, token string) (limit, offset int, err error) {
	limit = defaultPageSize
	if size > 0 {
		limit = int(size)
	}
	if token == "" {
		return limit, 0, nil
	}
	offset, err = strconv.Atoi(token)
	if err != nil || offset < 1 || offset > maxOffset {
		return 0, 0, apierr.Invalid("page_token", "page_token is not one that this method gave")
	}
	return limit, offset, nil
}

// window returns the time that is asked about.
func window(from, to *timestamppb.Timestamp, now time.Time) (time.Time, time.Time, error) {
	begin, end := time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, time.UTC), now.Add(time.Microsecond)
	if from != nil {
		if from.CheckValid() != nil {
			return begin, end, apierr.Invalid("from", "from is not a time")
		}
		begin = from.AsTime()
	}
	if to != nil {
		if to.CheckValid() != nil {
			return begin, end, apierr.Invalid("to", "to is not a time")
		}
		end = to.AsTime()
	}
	switch {
	case begin.Before(time.Unix(0, 0)):
		return begin, end, apierr.Invalid("from", "from must not be before 1970")
	case !begin.Before(end):
		return begin, end, apierr.Invalid("to", "to must be after from")
	case end.Sub(begin) > maxWindow:
		return begin, end, apierr.Invalid("from", "from and to must not be more than ten years apart")
	}
	return begin, end, nil
}

const maxWindow = 3660 * 24 * time.Hour

// storeError is for a store that does not answer.
func storeError(err error) error {
	if _, ours := errors.AsType[*apierr.Error](err); ours {
		return err
	}
	return apierr.Wrap(apierr.Unavailable, err, "the ledger of usage does not answer").WithRetryAfter(retryAfter)
}

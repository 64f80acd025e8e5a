package openai

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/identity"
	"github.com/poterne/poterne/pkg/telemetry"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
)

// The request headers, or over gRPC the metadata, that say how a request is to
// be served.
const (
	// HeaderPriority is interactive, standard or batch; without it `service_tier`
	// counts: priority is interactive, and flex is batch.
	HeaderPriority = "x-poterne-priority"
	// HeaderSession names the conversation; without it `prompt_cache_key` counts, and
	// then the conversation that is remembered.
	HeaderSession = "x-poterne-session"
	// HeaderWait is how long to wait for a model that is being loaded, or whose engine
	// is started again, as in 30s.
	HeaderWait = "x-poterne-wait"
)

// HintHeaders are the headers that are passed on from HTTP.
func HintHeaders() []string { return []string{HeaderPriority, HeaderSession, HeaderWait} }

// Config says what callers may ask for.
type Config struct {
	// InteractiveRoles are the roles whose requests may come before others'.
	InteractiveRoles []string `yaml:"interactive_roles"`
	// ExperimentHeaders are the headers, in lower case, that are passed on for
	// experiments to look at; at most 16.
	ExperimentHeaders []string `yaml:"experiment_headers"`
}

// DefaultConfig lets those who build on the platform ask for it.
func DefaultConfig() Config { return Config{InteractiveRoles: []string{"admin", "developer"}} }

// Hints are how a request is to be served.
type Hints struct {
	Priority inferencev1.Priority
	Session  string
	Wait     *durationpb.Duration
	// Headers are those that experiments may look at; nil when none came.
	Headers map[string]string
}

const (
	maxSession = 256
	maxWait    = 10 * time.Minute
)

// Hints reads the header, and of the parameters that the gateway does not know
// otherwise, which the engine gets all the same, those that OpenAI has for it.
func (c Config) Hints(ctx context.Context, extra map[string]string) (Hints, error) {
	h := Hints{Headers: c.ExperimentHeadersOf(ctx)}
	var err error
	if h.Priority, err = c.priority(ctx, extra); err != nil {
		return h, err
	}
	if h.Session, err = one(ctx, HeaderSession); err != nil {
		return h, err
	}
	if len(h.Session) > maxSession {
		return h, apierr.Invalid(HeaderSession, "%s: must have at most %d bytes", HeaderSession, maxSession)
	}
	if h.Session == "" {
		h.Session = word(extra["prompt_cache_key"])
	}
	if len(h.Session) > maxSession {
		h.Session = "" // OpenAI takes longer ones: it is a hint, and no error
	}
	if h.Session == "" {
		h.Session = conversationFrom(ctx)
	}
	if h.Session == "" {
		if rt := routedFrom(ctx); rt != nil {
			h.Session = rt.session
		}
	}
	h.Wait, err = waitOf(ctx)
	return h, err
}

type conversationKey struct{}

// inConversation returns ctx with a session for the conversation that req is a turn of:
// its turns begin alike, and are soonest read by the worker that read them before. The
// name is the owner's alone, and tells workers nothing of them.
func inConversation(ctx context.Context, req *edgev1.CreateChatCompletionRequest) context.Context {
	id := req.GetMemory().GetConversation()
	if id == "" {
		return ctx
	}
	caller, _ := identity.FromContext(ctx)
	sum := sha256.New()
	for _, s := range [...]string{caller.Tenant, caller.Subject, id} {
		sum.Write(binary.BigEndian.AppendUint32(nil, uint32(len(s))))
		sum.Write([]byte(s))
	}
	return context.WithValue(ctx, conversationKey{}, "conversation-"+hex.EncodeToString(sum.Sum(nil)[:16]))
}

// conversationFrom is the session that inConversation noted; empty: none.
func conversationFrom(ctx context.Context) string {
	s, _ := ctx.Value(conversationKey{}).(string)
	return s
}

// Priority is how urgent the request of ctx is, by its header alone; a priority that it
// may not ask for counts as none.
func (c Config) Priority(ctx context.Context) inferencev1.Priority {
	p, err := c.priority(ctx, nil)
	if err != nil {
		return inferencev1.Priority_PRIORITY_UNSPECIFIED
	}
	return p
}

// priority refuses what the header may not ask for. As at OpenAI a tier that the
// caller does not have is no error: it is served as any other.
func (c Config) priority(ctx context.Context, extra map[string]string) (inferencev1.Priority, error) {
	name, err := one(ctx, HeaderPriority)
	if err != nil {
		return 0, err
	}
	asked := name != ""
	if !asked {
		name = tierPriority(word(extra["service_tier"]))
	}
	p, err := priorityOf(name)
	if err != nil || p != inferencev1.Priority_PRIORITY_INTERACTIVE || c.mayHurry(ctx) {
		return p, err
	}
	if asked {
		return 0, apierr.New(apierr.PermissionDenied, "%s: interactive is not for this caller's roles", HeaderPriority).
			WithField(HeaderPriority)
	}
	return inferencev1.Priority_PRIORITY_UNSPECIFIED, nil
}

func (c Config) mayHurry(ctx context.Context) bool {
	caller, _ := identity.FromContext(ctx)
	return slices.ContainsFunc(c.InteractiveRoles, caller.HasRole)
}

func tierPriority(tier string) string {
	switch tier {
	case "priority":
		return "interactive"
	case "flex":
		return "batch"
	default: // auto, default, scale, and what is to come
		return ""
	}
}

func priorityOf(name string) (inferencev1.Priority, error) {
	switch name {
	case "":
		return inferencev1.Priority_PRIORITY_UNSPECIFIED, nil
	case "interactive":
		return inferencev1.Priority_PRIORITY_INTERACTIVE, nil
	case "standard":
		return inferencev1.Priority_PRIORITY_STANDARD, nil
	case "batch":
		return inferencev1.Priority_PRIORITY_BATCH, nil
	default:
		return 0, apierr.Invalid(HeaderPriority, "%s: must be interactive, standard or batch", HeaderPriority)
	}
}

func waitOf(ctx context.Context) (*durationpb.Duration, error) {
	text, err := one(ctx, HeaderWait)
	if err != nil || text == "" {
		return nil, err
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 || d > maxWait {
		return nil, apierr.Invalid(HeaderWait, "%s: must be a time from 0s to %v, such as 30s", HeaderWait, maxWait)
	}
	return durationpb.New(d), nil
}

// one returns the value of a header that may be there once; its name is in lower case.
func one(ctx context.Context, name string) (string, error) {
	switch values := telemetry.FromIncoming(ctx, name); len(values) {
	case 0:
		return "", nil
	case 1:
		return values[0], nil
	default:
		return "", apierr.Invalid(name, "%s: must be given once", name)
	}
}

// word reads a JSON text; anything else is none.
func word(raw string) string {
	if raw == "" {
		return ""
	}
	var s string
	if json.Unmarshal([]byte(raw), &s) != nil {
		return ""
	}
	return s
}

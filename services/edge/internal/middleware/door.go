package middleware

import (
	"context"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/grpcserver"
	"github.com/poterne/poterne/pkg/inproc"
	"github.com/poterne/poterne/services/edge/internal/audit"
	"github.com/poterne/poterne/services/edge/internal/authn"
	"github.com/poterne/poterne/services/edge/internal/ban"
	"github.com/poterne/poterne/services/edge/internal/inhand"
)

// Door is the steps of the chain that need no message: audit, address-limit and
// authenticate. A request over HTTP passes them before its body is read, so that
// strangers cannot make us read and decode; the call that it becomes passes the
// whole chain, where these steps take what they found at the door. It is safe
// for concurrent use.
type Door struct {
	steps *steps
	page  grpc.UnaryServerInterceptor // the steps of pages, which look after their callers themselves
}

// NewDoor returns the door of the chain that Chain returns for the same d.
func NewDoor(d Deps) *Door {
	s := newSteps(d)
	return &Door{steps: s, page: grpcserver.Chain{s.audit(), s.addressLimit()}.Unary()}
}

// Visitor is a request over HTTP.
type Visitor struct {
	// Method is the full gRPC method that the path is bound to.
	Method string
	// Authorization is the values of that header.
	Authorization []string
	// SetHeader adds to the header of the response.
	SetHeader func(md metadata.MD)
}

// Pass calls enter for a visitor that is let in, and returns why another is not.
// The context given to enter must be the one of the in-process call that the
// visitor's request becomes, if it becomes one, and of Refuse otherwise. ctx
// must carry the visitor's address (clientaddr.NewContext). The visitor's record
// is in the audit trail when both the call and Pass have returned.
func (d *Door) Pass(ctx context.Context, v Visitor, enter func(ctx context.Context)) (err error) {
	s := d.steps
	inside := &admission{Context: ctx, steps: s, visit: visit{v}, start: s.Clock.Now()}
	b, err := s.begin(inside, v.Method) //nolint:contextcheck // it is made of the visit's
	if err != nil {
		return err
	}
	entered := false
	err = errUnfinished
	defer func() {
		if unkept := b.end(err); unkept != nil {
			err = unkept
		}
		if entered {
			err = nil // enter has answered
		}
	}()
	found, refused := s.letIn(b.ctx, v)
	if refused == nil {
		entered = true
		inside.ctx, inside.entry = found, b.entry
		// Not the steps' own context: what ends it is for the call to answer.
		enter(inside) //nolint:contextcheck // it is made of the visit's
		refused = inside.err
	}
	err = inhand.Outcome(b.ctx, refused) //nolint:contextcheck // it is made of the visit's
	return err
}

// letIn returns the context of a visitor who is let in, with what is known of them.
func (s *steps) letIn(ctx context.Context, v Visitor) (context.Context, error) {
	if err := s.checkAddress(ctx); err != nil {
		return nil, err
	}
	return s.recognise(ctx, v.Method, headers{visit: v.SetHeader})
}

// Refuse notes that the request of ctx, which a Door let in, is refused with err
// before it has become a call. It counts against the caller's limit like any
// other, and the error returned, which is what to answer, may say that this is
// reached. Elsewhere it returns err.
func Refuse(ctx context.Context, err error) error {
	a, ok := ctx.Value(admissionKey{}).(*admission)
	if !ok || a.ctx == nil || a.state.Load() != stateOpen || a.err != nil {
		return err
	}
	visited := grpc.NewContextWithServerTransportStream(a.ctx, &a.visit) // for headers
	//nolint:contextcheck // the request as the door let it in
	_, a.err = a.steps.limit().Unary(visited, nil, &grpc.UnaryServerInfo{FullMethod: a.visit.Visitor.Method},
		func(context.Context, any) (any, error) { return nil, err })
	return a.err
}

// Found notes what the firewall found in the request of ctx, which a Door let in.
func Found(ctx context.Context, finding string) {
	if a, ok := ctx.Value(admissionKey{}).(*admission); ok {
		a.entry.AddFinding(finding)
	}
}

// Offend holds a refusal against the address that the request of ctx comes from.
func (d *Door) Offend(ctx context.Context, cause ban.Cause) {
	d.steps.Bans.Offend(ctx, d.steps.Addresses.FromContext(ctx), cause)
}

type admissionKey struct{}

// admission is what the door found out about one request. Nobody outside can
// make one: it travels as a value of a context within this process, under a key
// of this package. It is that context itself, the one that the request enters with.
type admission struct {
	context.Context //nolint:containedctx // it is a context

	steps *steps
	visit visit
	start time.Time
	ctx   context.Context //nolint:containedctx // the steps' own: what they found is in it
	entry *audit.Entry
	done  func() // ends the door's part of the calls in hand
	err   error  // what Refuse was told
	state atomic.Int32
}

// Value answers for itself, and for what is shown at the door.
func (a *admission) Value(key any) any {
	switch key.(type) {
	case admissionKey:
		return a
	case authn.ShownKey:
		return &a.visit.Authorization
	default:
		return a.Context.Value(key)
	}
}

// The states of an admission: who writes its record is decided once.
const (
	stateOpen   int32 = iota
	stateCalled       // the call writes it
	stateLeft         // the door writes it
)

// admitted returns the admission of the in-process call that ctx belongs to; nil
// when it is another kind of call.
func admitted(ctx context.Context) *admission {
	if p, ok := ctx.(*passage); ok {
		return p.admission
	}
	client := inproc.ClientContext(ctx)
	if client == nil {
		return nil
	}
	a, _ := client.Value(admissionKey{}).(*admission)
	return a
}

// atDoor notes how to end the call in hand that the door counts, if ctx is of one.
func atDoor(ctx context.Context, done func()) {
	if a, ok := ctx.Value(admissionKey{}).(*admission); ok {
		a.done = done
	}
}

// leave reports whether the door must write the record of the request that ctx
// belongs to: no call has done so. Calls that came by no door always do it.
func leave(ctx context.Context) bool {
	a, ok := ctx.Value(admissionKey{}).(*admission)
	return !ok || a.state.CompareAndSwap(stateOpen, stateLeft)
}

// call lets one call, which is in hand itself by now, have what the door found
// out.
func (a *admission) call() error {
	if a.ctx == nil || !a.state.CompareAndSwap(stateOpen, stateCalled) {
		return apierr.New(apierr.Internal, "the request was answered before its call began")
	}
	a.done()
	return nil
}

// door is the steps that need no message, in their order. An admitted call passes
// them with what they found at the door; the audit step stands before the others and
// lets only one such call in.
func (s *steps) door() grpcserver.Chain {
	return grpcserver.Chain{s.audit(), s.addressLimit(), s.authenticate()}
}

// known returns what the door found out about the request that a call is of; nil for
// a call that came by no door.
func known(ctx context.Context) *admission {
	if a := admitted(ctx); a != nil && a.ctx != nil {
		return a
	}
	return nil
}

// visit lets the steps set headers, as a call does.
type visit struct{ Visitor }

var _ grpc.ServerTransportStream = (*visit)(nil)

// Method is the visitor's.
func (v *visit) Method() string { return v.Visitor.Method }

// SetHeader adds to the header of the response.
func (v *visit) SetHeader(md metadata.MD) error {
	v.Visitor.SetHeader(md)
	return nil
}

// SendHeader is for handlers, of which there is none at the door.
func (*visit) SendHeader(metadata.MD) error { return nil }

// SetTrailer is for handlers as well.
func (*visit) SetTrailer(metadata.MD) error { return nil }

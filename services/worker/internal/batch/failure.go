package batch

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/poterne/poterne/pkg/apierr"
)

// refusal is a batch that the engine refused, and what became of its parts.
type refusal struct {
	parts int // that have not ended
	// taken says that the engine computed some part, so that what is wrong is in
	// inputs and not in the parameters, which all parts have in common.
	taken bool
	// suspects is inputs that were refused alone before anything was taken.
	suspects []suspect
}

type suspect struct {
	item item
	err  error
}

// maxSuspects is how many inputs are refused alone, with none taken, until the
// fault is held to be in the parameters.
const maxSuspects = 4

// failed decides what becomes of the inputs of a batch that failed. Whose callers
// have left meanwhile may be what it failed on.
func (b *Batcher) failed(t *batch, err error) {
	inputs, shared := len(t.items), len(t.callers()) > 1
	if t.drop(); len(t.items) == 0 {
		return
	}
	status := apierr.ReasonOf(err).HTTPStatus()
	refused := status >= http.StatusBadRequest && status < http.StatusInternalServerError && !aboutParameters(err)
	switch s := (suspect{t.items[0], err}); {
	case refused && inputs > 1:
		b.halve(t)
	case refused && tooLong(err):
		b.blame(s)
	case refused && t.of != nil:
		b.suspect(t.of, s)
	case status >= http.StatusInternalServerError && !overloaded(err) && shared:
		b.separate(t)
	default:
		for _, c := range t.callers() {
			b.finish(c, err)
		}
	}
}

// overloaded reports whether the engine only has too much to do: more calls
// would not help it.
func overloaded(err error) bool {
	r := apierr.ReasonOf(err)
	return r == apierr.Overloaded || r == apierr.DeadlineExceeded
}

// aboutParameters reports whether the engine names something other than an input:
// what it names is common to the whole batch.
func aboutParameters(err error) bool {
	field := apierr.From(err).Field
	return field != "" && !strings.HasPrefix(field, "input")
}

// halve has a refused batch sent again in two parts, the first half first.
func (b *Batcher) halve(t *batch) {
	if t.of == nil {
		t.of = &refusal{parts: 1}
	}
	b.sees.Split(Refused)
	middle := len(t.items) / 2
	b.resend(t, t.items[middle:])
	b.resend(t, t.items[:middle]) // nothing, when one is left of several
}

// separate has a batch that failed sent again for each caller alone, the first
// one first: one may have brought the engine down. Each has one such try, since
// what one caller has alone is not separated again.
func (b *Batcher) separate(t *batch) {
	b.sees.Split(Failed)
	for _, c := range slices.Backward(t.callers()) {
		theirs := slices.DeleteFunc(slices.Clone(t.items), func(it item) bool { return it.caller != c })
		b.resend(t, theirs)
	}
}

// resend has items of a batch sent again by themselves, before what was to be
// sent again already.
func (b *Batcher) resend(t *batch, items []item) {
	if t.of != nil {
		t.of.parts++
	}
	b.again = append(b.again, &batch{key: t.key, limits: t.limits, items: items, of: t.of})
}

// suspect notes that an input was refused alone. It is at fault itself if
// another of the same refused batch is taken.
func (b *Batcher) suspect(r *refusal, s suspect) {
	if r.taken {
		b.blame(s)
		return
	}
	r.suspects = append(r.suspects, s)
	if len(r.suspects) == maxSuspects {
		b.acquit(r)
	}
}

func tooLong(err error) bool { return apierr.ReasonOf(err) == apierr.ContextLengthExceeded }

// blame fails the caller with the input named.
func (b *Batcher) blame(s suspect) {
	b.finish(s.item.caller, apierr.From(s.err).WithField("input["+strconv.Itoa(s.item.index)+"]"))
}

// acquit fails the suspects' callers without saying that an input is at fault.
func (b *Batcher) acquit(r *refusal) {
	for _, s := range r.suspects {
		b.finish(s.item.caller, s.err)
	}
	r.suspects = nil
}

// taken notes that the engine computed a part of a refused batch.
func (b *Batcher) taken(r *refusal) {
	r.taken = true
	for _, s := range r.suspects {
		b.blame(s)
	}
	r.suspects = nil
}

// ended notes that a batch will not run again.
func (b *Batcher) ended(t *batch) {
	if t.of == nil {
		return
	}
	if t.of.parts--; t.of.parts == 0 {
		b.acquit(t.of)
	}
}

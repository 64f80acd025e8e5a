package schedule

import (
	"strings"

	"github.com/poterne/poterne/services/inference/internal/fair"
	"github.com/poterne/poterne/services/inference/internal/fleet"
)

// Ready reports whether some copy that may serve the request is ready.
func (r *Request) Ready(view *fleet.View) bool {
	if len(r.Variants) == 0 {
		return len(view.Ready(r.Digest)) > 0
	}
	for _, digest := range r.Variants {
		if len(view.Ready(digest)) > 0 {
			return true
		}
	}
	return false
}

// pick returns the strategy's choice among the copies for which may holds: of the
// best variant that is ready, and of the next ones too where the model allows
// that. A request whose copy failed it takes what there is. l.mu is held.
func (l *lane) pick(t *ticket, view *fleet.View, may func(*fleet.Copy) bool, again bool) *fleet.Copy {
	req := t.job.Request
	t.job.saturated = false
	if len(req.Variants) == 0 {
		return l.s.opts.Strategy.Pick(&t.job, view, may)
	}
	for _, digest := range req.Variants {
		if len(view.Ready(digest)) == 0 {
			continue
		}
		t.job.variant = digest
		if c := l.s.opts.Strategy.Pick(&t.job, view, may); c != nil {
			return c
		}
		if !req.Fallback && !again {
			return nil
		}
		t.job.saturated = !again
	}
	return nil
}

// forms stands for what may serve a request: those that wait for the same get
// room in their order, and do not keep the others from what is free. Empty where
// the version has its own weights only.
func (r *Request) forms() string {
	if len(r.Variants) == 0 {
		return ""
	}
	mode := "|"
	if r.Fallback {
		mode = ">"
	}
	return strings.Join(r.Variants, mode)
}

// next returns whose turn it is, of those that do not wait for what is known to
// have no room; l.mu is held.
func (l *lane) next(at fair.Class, full map[string]bool) *fair.Item[*ticket] {
	switch {
	case len(full) == 0:
		return l.queue.NextOf(at)
	case len(full) >= len(l.kinds):
		return nil
	}
	return l.queue.NextWhere(at, func(t *ticket) bool { return !full[t.forms] })
}

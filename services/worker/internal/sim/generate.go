package sim

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/poterne/poterne/pkg/clock"
)

// The reasons for which an answer ends.
const (
	finishStop   = "stop"
	finishLength = "length"
	finishTools  = "tool_calls"
)

// generate makes the answer at the configured pace and sends it.
func (s *Server) generate(ctx context.Context, w http.ResponseWriter, j *job, f fault) {
	start := s.clock.Now()
	a := answer{job: j, id: s.id(j.chat), created: start.Unix()}
	if s.read(ctx, j) != nil {
		s.counts.aborted.Add(1)
		s.history.add(&a, outcomeAborted)
		return
	}
	var err error
	if j.stream {
		err = s.stream(ctx, w, &a, f)
	} else {
		err = s.unary(ctx, w, &a)
	}
	if err != nil {
		s.counts.aborted.Add(1)
		s.history.add(&a, outcomeAborted)
		return
	}
	s.counts.succeeded.Add(1)
	s.history.add(&a, outcomeAnswered)
}

// read pretends to read the prompt.
func (s *Server) read(ctx context.Context, j *job) error {
	if s.reading != nil {
		if err := s.reading.acquire(ctx, 0); err != nil {
			return err
		}
		defer s.reading.release(0)
	}
	j.cached = s.prefix.visit(j.prompt, j.promptTokens)
	s.counts.promptTokens.Add(int64(j.promptTokens))
	s.counts.cachedTokens.Add(int64(j.cached))
	return s.sleep(ctx, s.timeToFirst(j))
}

func (s *Server) timeToFirst(j *job) time.Duration {
	d := s.cfg.FirstToken
	if s.cfg.PrefillRate > 0 {
		d += time.Duration(float64(j.promptTokens-j.cached) / s.cfg.PrefillRate * float64(time.Second))
	}
	return d
}

func (s *Server) sleep(ctx context.Context, d time.Duration) error {
	return clock.Sleep(ctx, s.clock, d)
}

func (s *Server) id(chat bool) string {
	prefix := "cmpl-sim-"
	if chat {
		prefix = "chatcmpl-sim-"
	}
	return prefix + strconv.FormatInt(s.nextID.Add(1), 10)
}

// answer is one answer in the making.
type answer struct {
	*job

	id        string
	created   int64
	generated int // tokens, of all choices
	told      int // of them, those that the client was told of
}

// choice makes the tokens of one choice, one after the other.
type choice struct {
	state   uint64
	made    int
	text    strings.Builder // what was sent
	held    string          // made, and kept back: it may begin a stop text
	finish  string
	stopped bool
}

func (a *answer) newChoice(index int, w words) *choice {
	c := &choice{state: stateOf(a.question, a.seed) ^ uint64(index)*fnvPrime}
	for ; c.made < a.beginning; c.made++ {
		w.next(&c.state, c.made)
	}
	return c
}

// stateOf is where an answer begins.
func stateOf(question string, seed uint64) uint64 { return hash(fnvOffset, question) ^ seed }

// next returns the next piece of text to send; it may be empty. After the last
// one c.finish is set.
func (a *answer) next(c *choice, w words) string {
	if c.made >= a.beginning+a.maxTokens { // all of it was known
		c.finish = finishStop
		return ""
	}
	piece := w.next(&c.state, c.made)
	if c.made > 0 {
		piece = " " + piece
	}
	c.made++
	a.generated++
	if len(a.stops) > 0 {
		piece = a.holdBack(c, piece)
	}
	switch {
	case c.stopped:
		c.finish = finishStop
	case c.made >= a.beginning+a.maxTokens && a.limited:
		c.finish = finishLength
	case c.made >= a.beginning+a.maxTokens:
		c.finish = finishStop
	}
	if c.finish != "" && !c.stopped {
		piece += c.held
		c.held = ""
	}
	return piece
}

// holdBack cuts the text at the first stop, and keeps back an end that may
// turn out to be the beginning of one.
func (a *answer) holdBack(c *choice, piece string) string {
	text := c.held + piece
	first := -1
	for _, stop := range a.stops {
		if i := strings.Index(text, stop); stop != "" && i >= 0 && (first < 0 || i < first) {
			first = i
		}
	}
	if first >= 0 {
		c.stopped, c.held = true, ""
		return text[:first]
	}
	keep := 0
	for _, stop := range a.stops {
		for n := min(len(stop)-1, len(text)); n > keep; n-- {
			if strings.HasSuffix(text, stop[:n]) {
				keep = n
			}
		}
	}
	c.held = text[len(text)-keep:]
	return text[:len(text)-keep]
}

// pacer spaces tokens evenly from when it began, whatever sending them took.
type pacer struct {
	server *Server
	begun  time.Time
	step   time.Duration
	n      int64
}

func (s *Server) newPacer() *pacer {
	p := &pacer{server: s}
	if s.cfg.DecodeRate > 0 {
		p.begun, p.step = s.clock.Now(), time.Duration(float64(time.Second)/s.cfg.DecodeRate)
	}
	return p
}

// wait waits until the next token is due; the first one is at once.
func (p *pacer) wait(ctx context.Context) error {
	if p.step == 0 {
		return context.Cause(ctx)
	}
	due := p.begun.Add(time.Duration(p.n * int64(p.step)))
	p.n++
	return p.server.sleep(ctx, due.Sub(p.server.clock.Now()))
}

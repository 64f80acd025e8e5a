package schedule_test

import (
	"container/list"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"
)

// The modelled workers, which are those of the bench's prefix scenarios: each
// reads one prompt at a time, first come first served, less what it has cached;
// answers do not disturb each other.
const (
	modelWorkers = 8
	modelSlots   = 64
	modelPrefill = 8000.0                 // tokens a second
	modelCache   = 40_000                 // tokens
	modelDecode  = 160 * time.Millisecond // of an answer
	modelPrompt  = 2060                   // tokens
	modelShared  = 2000                   // tokens, of those prompts that share their beginning
	// modelCapacity is the prompts a second that are read with nothing cached.
	modelCapacity = modelWorkers * modelPrefill / modelPrompt
	// modelBlock is the bytes of a block of the cache: 16 tokens.
	modelBlock = 64
)

// engine is a modelled worker.
type engine struct {
	// chunk is how many tokens are read of one prompt before it is the next one's
	// turn; 0 reads each to its end.
	chunk int
	// speed is tokens a second.
	speed float64

	mu      sync.Mutex
	waiting []*reading
	come    chan struct{} // holds one
	seen    map[uint64]*list.Element
	recent  list.List // the blocks, the one used last in front
}

// reading is a prompt that an engine reads.
type reading struct {
	text   []byte
	begun  bool
	left   float64 // tokens, and what the noise adds
	noise  float64
	cached int
	done   chan struct{}
}

func newEngine(chunk int, speed float64) *engine {
	return &engine{chunk: chunk, speed: speed, come: make(chan struct{}, 1), seen: make(map[uint64]*list.Element)}
}

// read returns once the prompt is read, and how many tokens of it were cached.
func (e *engine) read(text []byte, noise float64) (cached int) {
	r := &reading{text: text, noise: noise, done: make(chan struct{})}
	e.mu.Lock()
	e.waiting = append(e.waiting, r)
	e.mu.Unlock()
	select {
	case e.come <- struct{}{}:
	default:
	}
	<-r.done
	return r.cached
}

// run reads until ctx ends.
func (e *engine) run(ctx context.Context) {
	for {
		e.mu.Lock()
		if len(e.waiting) == 0 {
			e.mu.Unlock()
			select {
			case <-e.come:
				continue
			case <-ctx.Done():
				return
			}
		}
		r := e.waiting[0]
		e.waiting = e.waiting[1:]
		e.mu.Unlock()
		if !r.begun {
			r.begun, r.cached = true, e.visit(r.text)
			r.left = float64(len(r.text)/4-r.cached) * r.noise
		}
		now := r.left
		if e.chunk > 0 {
			now = min(now, float64(e.chunk))
		}
		pass(time.Duration(now / e.speed * float64(time.Second)))
		if r.left -= now; r.left <= 0 {
			close(r.done)
			continue
		}
		e.mu.Lock()
		e.waiting = append(e.waiting, r)
		e.mu.Unlock()
	}
}

// visit is vLLM's prefix cache: chained blocks, the least recently used of them
// forgotten first, and of one prompt the end before the beginning.
func (e *engine) visit(text []byte) (cached int) {
	var chain []uint64
	var h xxhash.Digest
	h.Reset()
	for ; len(text) >= modelBlock; text = text[modelBlock:] {
		_, _ = h.Write(text[:modelBlock])
		chain = append(chain, h.Sum64())
	}
	for _, b := range chain {
		if e.seen[b] == nil {
			break
		}
		cached += modelBlock / 4
	}
	for _, b := range slices.Backward(chain) {
		if at := e.seen[b]; at != nil {
			e.recent.MoveToFront(at)
			continue
		}
		if e.recent.Len() >= modelCache*4/modelBlock {
			last, _ := e.recent.Remove(e.recent.Back()).(uint64)
			delete(e.seen, last)
		}
		e.seen[b] = e.recent.PushFront(b)
	}
	return cached
}

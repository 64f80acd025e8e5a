package scenario

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Outcome is how one request of a steady load ended.
type Outcome struct {
	Began, Ended time.Time
	Streamed     bool
	Status       int
	// Chunks is how many a stream had before its end.
	Chunks int
	// Err is empty when the answer was whole.
	Err string
	// Typed says that the failure was an error event or an error answer, and
	// not a connection that broke.
	Typed bool
	// LastChunk is when the last chunk came.
	LastChunk time.Time
}

// Load keeps a number of chats in flight until it is stopped, half of them
// streamed.
type Load struct {
	cancel   context.CancelFunc
	wg       sync.WaitGroup
	answered atomic.Int64
	// speaking counts the streams between their first chunk and their end.
	speaking atomic.Int64

	mu       sync.Mutex
	outcomes []Outcome
}

// StartLoad starts clients that ask one chat after another, with tokens of
// answer each.
func (g Target) StartLoad(ctx context.Context, clients, tokens int) *Load {
	ctx, cancel := context.WithCancel(ctx)
	l := &Load{cancel: cancel}
	for i := range clients {
		l.wg.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				// Answers of different lengths, so that the clients do not fall into step.
				o := l.oneChat(ctx, g, fmt.Sprintf("client %d, question %d", i, n), i%2 == 0, tokens+i)
				l.mu.Lock()
				l.outcomes = append(l.outcomes, o)
				l.mu.Unlock()
				if o.Err == "" {
					l.answered.Add(1)
				}
			}
		})
	}
	return l
}

// Answered is how many chats were answered whole so far.
func (l *Load) Answered() int64 { return l.answered.Load() }

// Speaking is how many streams have begun and not ended.
func (l *Load) Speaking() int64 { return l.speaking.Load() }

// Stop lets the chats in flight end and returns all outcomes.
func (l *Load) Stop() []Outcome {
	l.cancel()
	l.wg.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.outcomes
}

func (l *Load) oneChat(ctx context.Context, g Target, text string, streamed bool, tokens int) Outcome {
	// Not the load's context: a chat that has begun is let end.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), CallTimeout)
	defer cancel()
	o := Outcome{Began: time.Now(), Streamed: streamed}
	body := map[string]any{"model": g.ChatModel, "messages": User(text), "max_tokens": tokens, "user": text}
	if !streamed {
		a, err := g.Do(ctx, "POST", "/v1/chat/completions", g.AdminKey, body)
		o.Ended, o.Status = time.Now(), a.Status
		switch {
		case err != nil:
			o.Err = err.Error()
		case a.Status != 200:
			o.Err, o.Typed = string(a.Body), true
		}
		return o
	}
	body["stream"] = true
	s := g.Stream(ctx, "/v1/chat/completions", g.AdminKey, body, func(string) {
		if o.LastChunk.IsZero() {
			l.speaking.Add(1)
		}
		o.LastChunk = time.Now()
	})
	if !o.LastChunk.IsZero() {
		l.speaking.Add(-1)
	}
	o.Ended, o.Status, o.Chunks = time.Now(), s.Status, len(s.Chunks)
	switch {
	case s.Error != "":
		o.Err, o.Typed = s.Error, true
	case s.Broken != nil:
		o.Err = s.Broken.Error()
	case !s.Done:
		o.Err = "no [DONE]"
	}
	return o
}

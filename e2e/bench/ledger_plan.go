package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"syscall"
	"time"
)

// What may become of a request.
const (
	planWhole  = "whole"     // answered in one piece
	planStream = "stream"    // answered as a stream
	planLeft   = "left"      // a stream that its client leaves
	planCut    = "cut"       // a stream that its engine cuts
	planFail   = "failed"    // the engine fails at once
	planGone   = "gone"      // its client leaves before there is an answer
	planTwice  = "twice"     // made twice at the same time, with one Idempotency-Key
	planAgain  = "made anew" // made again after it was answered, with its Idempotency-Key
)

// ledgerPlan is a request: what is to become of it, and what did.
type ledgerPlan struct {
	kind, id, once string
	// tokens is how many are to be generated, and after how many it is left or cut.
	tokens int

	status int
	// whole: the whole answer came; cut: it ended early, and not as planned.
	whole, lost bool
	// input and output are as the caller was told, or has counted.
	input, output int
}

// newPlans returns the requests of one turn.
func newPlans(rnd *rand.Rand, n int64) []*ledgerPlan {
	p := &ledgerPlan{id: fmt.Sprintf("l-%d", n), tokens: 1 + rnd.IntN(24)}
	again := func(kind string) *ledgerPlan {
		p.once = "once-" + p.id
		return &ledgerPlan{kind: kind, id: p.id + "-again", once: p.once, tokens: p.tokens}
	}
	switch k := rnd.IntN(100); {
	case k < 45:
		p.kind = planWhole
	case k < 70:
		p.kind = planStream
	case k < 80:
		p.kind = planLeft
	case k < 85:
		p.kind = planCut
		p.tokens += 2
	case k < 90:
		p.kind = planFail
	case k < 93:
		p.kind = planGone
	case k < 97:
		p.kind = planTwice
		return []*ledgerPlan{p, again(planTwice)}
	default:
		p.kind = planWhole
		return []*ledgerPlan{p, again(planAgain)}
	}
	return []*ledgerPlan{p}
}

func (p *ledgerPlan) body() string {
	stream, limit, control := false, p.tokens, ""
	switch p.kind {
	case planStream:
		stream = true
	case planLeft:
		stream, limit, control = true, 400, fmt.Sprintf(`,"sim":{"hold_after":%d}`, p.tokens)
	case planCut:
		stream, limit, control = true, 400, fmt.Sprintf(`,"sim":{"disconnect_after":%d}`, p.tokens)
	case planFail:
		control = `,"sim":{"status":500}`
	case planGone:
		control = `,"sim":{"hang":true}`
	}
	return fmt.Sprintf(`{"model":%q,"max_tokens":%d,"ignore_eos":true,"stream":%v,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"why is a gate in the wall %s?"}]%s}`,
		ledgerModel, limit, stream, strings.Repeat("of stone ", p.tokens%7), control)
}

// leaveAfter is when a client leaves that has nothing yet.
const leaveAfter = 100 * time.Millisecond

func (p *ledgerPlan) run(parent context.Context, l *ledgerRun, edge int) {
	ctx, cancel := context.WithTimeout(parent, time.Minute)
	defer cancel()
	if p.kind == planGone {
		time.AfterFunc(leaveAfter, cancel)
	}
	text := p.body()
	if !strings.Contains(text, `"stream":true`) {
		text = strings.Replace(text, `"stream":false,"stream_options":{"include_usage":true},`, "", 1)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, l.url(edge)+"/v1/chat/completions", strings.NewReader(text))
	if err != nil {
		p.lost = true
		return
	}
	req.Header.Set("Authorization", "Bearer "+l.key)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Request-Id", p.id)
	if p.once != "" {
		req.Header.Set("Idempotency-Key", p.once)
	}
	resp, err := l.client.Do(req)
	if errors.Is(err, syscall.ECONNREFUSED) { // nobody has seen it: the other edge is there
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
		}
		p.run(parent, l, 1-edge)
		return
	}
	if err != nil {
		p.lost = p.kind != planGone
		return
	}
	defer resp.Body.Close()
	p.status = resp.StatusCode
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		p.read(resp.Body, cancel)
		return
	}
	raw, err := io.ReadAll(resp.Body)
	var answer ledgerChunk
	p.lost = err != nil
	if err == nil && p.status == http.StatusOK && json.Unmarshal(raw, &answer) == nil && answer.Usage != nil {
		p.whole, p.input, p.output = true, answer.Usage.Prompt, answer.Usage.Completion
	}
}

type ledgerChunk struct {
	Choices []struct {
		Delta struct{ Content string }
	}
	Usage *struct {
		Prompt     int `json:"prompt_tokens"`
		Completion int `json:"completion_tokens"`
	}
	Error any
}

// read reads a stream to its end, or as far as its client stays.
func (p *ledgerPlan) read(body io.Reader, leave func()) {
	lines := bufio.NewScanner(body)
	for lines.Scan() {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		if data == "[DONE]" {
			p.whole = true
			return
		}
		var c ledgerChunk
		if json.Unmarshal([]byte(data), &c) != nil || c.Error != nil {
			p.lost = p.kind != planCut
			return
		}
		if c.Usage != nil {
			p.input, p.output = c.Usage.Prompt, c.Usage.Completion
			continue
		}
		for _, choice := range c.Choices {
			p.output += len(strings.Fields(choice.Delta.Content))
		}
		if p.kind == planLeft && p.output >= p.tokens {
			leave()
			return
		}
	}
	p.lost = true
}

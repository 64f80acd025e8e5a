package allinone

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
)

// simulated is a chat model on the simulated engine.
func simulated(continuation bool, parameters map[string]string) model {
	return model{name: "sim-chat", title: "Simulated", spec: &commonv1.ModelSpec{
		Task: commonv1.Task_TASK_CHAT, Engine: "sim", ContextLength: 8192, Parameters: parameters, Continuation: continuation,
	}}
}

// words counts the tokens in a streamed chunk: the simulated engine's are words.
func words(t *testing.T, chunk []byte) int {
	var c struct {
		Choices []struct {
			Delta struct {
				Content string `json:"content"`
			} `json:"delta"`
		} `json:"choices"`
	}
	if err := json.Unmarshal(chunk, &c); err != nil {
		t.Errorf("chunk %q: %v", chunk, err)
	}
	n := 0
	for _, choice := range c.Choices {
		n += len(strings.Fields(choice.Delta.Content))
	}
	return n
}

// leaver is one client that leaves its stream.
type leaver struct {
	id string
	// hold has the engine stop after so many tokens until the client leaves, so
	// that what was generated, what was delivered and what is recorded must be the
	// same; 0: tokens keep flowing when the client leaves.
	hold int
	// read is how many tokens the client reads before it leaves; with 0 it leaves
	// after a moment, whatever it has.
	read int
	// seen is the tokens that it has read.
	seen int
}

const promptTokens = 11 // of the question below, by the simulated engine's rule

func (l *leaver) run(c *cluster) {
	ctx, cancel := context.WithCancel(c.t.Context())
	defer cancel()
	hold := ""
	if l.hold > 0 {
		hold = fmt.Sprintf(`,"sim":{"hold_after":%d}`, l.hold)
	}
	body := `{"model":"sim-chat","stream":true,"max_tokens":400,"ignore_eos":true,"messages":[{"role":"user","content":"why is a gate in the wall?"}]` + hold + `}`
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url+"/v1/chat/completions", strings.NewReader(body))
	if err != nil {
		c.t.Error(err)
		return
	}
	req.Header.Set("Authorization", "Bearer "+c.key)
	req.Header.Set("X-Request-Id", l.id)
	if l.read == 0 {
		time.AfterFunc(time.Duration(rand.IntN(int(8*time.Millisecond))), cancel)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		if !errors.Is(err, context.Canceled) {
			c.t.Error(err)
		}
		return
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		c.t.Errorf("%s: HTTP %d", l.id, resp.StatusCode)
		return
	}
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		if l.seen += words(c.t, []byte(data)); l.read > 0 && l.seen >= l.read {
			return
		}
	}
}

// record is what the edge's trail says of a request.
type record struct {
	RequestID  string `json:"request_id"`
	Method     string `json:"method"`
	Reason     string `json:"error_reason"`
	Prompt     int    `json:"prompt_tokens"`
	Completion int    `json:"completion_tokens"`
}

func (c *cluster) records() map[string]record {
	c.t.Helper()
	f, err := os.Open(c.trail)
	if err != nil {
		c.t.Fatal(err)
	}
	defer f.Close()
	out := make(map[string]record)
	for dec := json.NewDecoder(f); ; {
		var r record
		switch err := dec.Decode(&r); {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF): // a line is being written
			return out
		case err != nil:
			c.t.Fatal(err)
		}
		if _, twice := out[r.RequestID]; twice && r.RequestID != "" {
			c.t.Errorf("request %s is recorded twice", r.RequestID)
		}
		out[r.RequestID] = r
	}
}

// generated is what a worker's engine says of a request.
type generated struct {
	ID     string `json:"request_id"`
	Prompt int    `json:"prompt_tokens"`
	Tokens int    `json:"generated_tokens"`
}

// TestAThousandDisconnects has clients leave their streams at random points. No
// engine keeps a slot, and each record has the tokens that were passed on.
func TestAThousandDisconnects(t *testing.T) {
	const clients, each = 20, 50
	c := newCluster(t, 2, simulated(false, map[string]string{"decode-rate": "500", "slots": "16"}), nil)
	leavers := make([]*leaver, 0, clients*each)
	var wg sync.WaitGroup
	for i := range clients {
		mine := make([]*leaver, each)
		for k := range mine {
			l := &leaver{id: fmt.Sprintf("leaver-%d-%d", i, k)}
			switch k % 5 {
			case 0, 1, 2: // in step: the counts must be equal
				l.hold = 1 + rand.IntN(30)
				l.read = l.hold
			case 3: // while tokens flow
				l.read = 1 + rand.IntN(30)
			case 4: // at any time, before the first token too
			}
			mine[k] = l
		}
		leavers = append(leavers, mine...)
		wg.Go(func() {
			for _, l := range mine {
				l.run(c)
			}
		})
	}
	wg.Wait()

	made := make(map[string]generated)
	for _, n := range c.workers {
		var state struct{ Running, Waiting int }
		eventually(t, "no slot is held", func() bool {
			n.sim(t, http.MethodGet, "/sim/state", "", &state)
			return state.Running+state.Waiting == 0
		})
		var list []generated
		n.sim(t, http.MethodGet, "/sim/requests", "", &list)
		for _, g := range list {
			if _, twice := made[g.ID]; twice {
				t.Errorf("%s ran twice", g.ID)
			}
			made[g.ID] = g
		}
	}
	eventually(t, "no worker has a request in flight", func() bool {
		resp, err := c.client.ListWorkers(c.caller(), &inferencev1.ListWorkersRequest{})
		busy := int32(0)
		for _, w := range resp.GetWorkers() {
			busy += w.GetInFlight() + w.GetState().GetInFlight()
		}
		return err == nil && busy == 0
	})
	var recorded map[string]record
	asked := 0
	eventually(t, "every request that came is recorded", func() bool {
		recorded, asked = c.records(), 0
		for _, l := range leavers {
			if _, ok := recorded[l.id]; ok {
				asked++
			} else if _, ran := made[l.id]; ran || l.seen > 0 {
				return false
			}
		}
		return true
	})
	exact, ahead := 0, 0
	for _, l := range leavers {
		r, ok := recorded[l.id]
		if !ok {
			continue // it left before it had asked
		}
		g := made[l.id]
		prompt := promptTokens
		if r.Completion == 0 && r.Prompt == 0 {
			prompt = 0 // it left before anything was passed on
		}
		if r.Prompt != prompt || r.Completion < l.seen || r.Completion > g.Tokens {
			t.Errorf("%s: %d tokens read, %d generated, %+v recorded", l.id, l.seen, g.Tokens, r)
		}
		switch {
		case l.hold == 0:
			ahead += g.Tokens - r.Completion
		case l.seen != l.hold || r.Completion != l.hold || g.Tokens != l.hold:
			t.Errorf("%s: %d tokens read, %d generated, %+v recorded; want %d of each", l.id, l.seen, g.Tokens, r, l.hold)
		default:
			exact++
		}
	}
	if want := clients * each * 3 / 5; exact != want {
		t.Errorf("%d of %d records in step are exact", exact, want)
	}
	if asked < clients*each*4/5 {
		t.Errorf("only %d requests came", asked)
	}
	t.Logf("%d requests recorded, %d of them in step and exact; on the way when clients left: %d tokens over %d requests",
		asked, exact, ahead, asked-exact)
}

const question = `"messages":[{"role":"user","content":"why is a gate in the wall?"}],"max_tokens":80,"ignore_eos":true,"stream_options":{"include_usage":true}`

// told is a whole streamed answer, as inference gives it.
type told struct {
	text          string
	roles, chunks int
	words         int // the tokens of the text
	ids           map[string]bool
	usage         *commonv1.TokenUsage
	inChunk       int // completion tokens of the chunk with the usage
	finishes      []string
	servedBy      []*inferencev1.ServedBy
}

func (c *cluster) tell(op workerv1.Operation, body string, onChunk func(n int, by *inferencev1.ServedBy)) (told, error) {
	a := told{ids: make(map[string]bool)}
	stream, err := c.client.InvokeStream(c.caller(), &inferencev1.InvokeRequest{Model: "sim-chat", Operation: op, Body: []byte(body)})
	for err == nil {
		var msg *inferencev1.InvokeStreamResponse
		if msg, err = stream.Recv(); err != nil {
			break
		}
		if u := msg.GetUsage(); u != nil {
			a.usage = u
		}
		switch ev := msg.GetEvent().(type) {
		case *inferencev1.InvokeStreamResponse_ServedBy:
			a.servedBy = append(a.servedBy, ev.ServedBy)
		case *inferencev1.InvokeStreamResponse_Chunk:
			a.chunk(c.t, ev.Chunk)
			if onChunk != nil {
				onChunk(a.chunks, a.servedBy[len(a.servedBy)-1])
			}
		case *inferencev1.InvokeStreamResponse_Finish:
			_, err = stream.Recv()
			if errors.Is(err, io.EOF) {
				return a, nil
			}
		}
	}
	return a, err
}

func (a *told) chunk(t *testing.T, raw []byte) {
	t.Helper()
	var c struct {
		ID      string `json:"id"`
		Choices []struct {
			Text  string `json:"text"`
			Delta struct {
				Role    string `json:"role"`
				Content string `json:"content"`
			} `json:"delta"`
			Finish string `json:"finish_reason"`
		} `json:"choices"`
		Usage *struct {
			Completion int `json:"completion_tokens"`
		} `json:"usage"`
	}
	if err := json.Unmarshal(raw, &c); err != nil {
		t.Errorf("chunk %q: %v", raw, err)
	}
	a.chunks++
	a.ids[c.ID] = true
	for _, choice := range c.Choices {
		a.text += choice.Text + choice.Delta.Content
		a.words += len(strings.Fields(choice.Text + choice.Delta.Content))
		if choice.Delta.Role != "" {
			a.roles++
		}
		if choice.Finish != "" {
			a.finishes = append(a.finishes, choice.Finish)
		}
	}
	if c.Usage != nil {
		a.inChunk = c.Usage.Completion
	}
}

// TestAnswersGoOnElsewhere cuts workers off at random points of their answers.
// The whole answer is what an undisturbed one is, and its tokens are counted
// once.
func TestAnswersGoOnElsewhere(t *testing.T) {
	const rounds = 8
	c := newCluster(t, 3, simulated(true, map[string]string{"decode-rate": "400"}), nil)
	for name, request := range map[string]struct {
		op   workerv1.Operation
		body string
	}{
		"chat":       {workerv1.Operation_OPERATION_CHAT, "{" + question + "}"},
		"completion": {workerv1.Operation_OPERATION_COMPLETION, `{"prompt":"why is a gate in the wall? ","max_tokens":80,"ignore_eos":true,"stream_options":{"include_usage":true}}`},
	} {
		t.Run(name, func(t *testing.T) {
			want, err := c.tell(request.op, request.body, nil)
			if err != nil || len(strings.Fields(want.text)) != 80 || len(want.servedBy) != 1 {
				t.Fatalf("undisturbed: %+v, %v", want, err)
			}
			again := 0
			for range rounds {
				at := map[int]bool{1 + rand.IntN(78): true}
				if rand.IntN(2) == 0 {
					at[1+rand.IntN(78)] = true // a second time
				}
				var gone []*node
				got, err := c.tell(request.op, request.body, func(n int, by *inferencev1.ServedBy) {
					if at[n] && len(gone) < 2 {
						w := c.node(by.GetWorkerId())
						w.cut()
						gone = append(gone, w)
					}
				})
				for _, w := range gone {
					w.mend()
				}
				if err != nil {
					t.Fatalf("cut after %v: %v after %q", at, err, got.text)
				}
				if got.text != want.text || got.roles != want.roles || len(got.ids) != 1 || len(got.finishes) != 1 || got.finishes[0] != "length" {
					t.Fatalf("cut after %v:\ngot  %+v\nwant %+v", at, got, want)
				}
				if got.usage.GetPromptTokens() != want.usage.GetPromptTokens() || got.usage.GetCompletionTokens() != 80 || got.inChunk != 80 {
					t.Errorf("cut after %v: usage %v and %d in the chunk, want %v", at, got.usage, got.inChunk, want.usage)
				}
				last := got.servedBy[len(got.servedBy)-1]
				if int(last.GetContinuations()) != len(got.servedBy)-1 {
					t.Errorf("served by %v", got.servedBy)
				}
				again += len(got.servedBy) - 1
				c.awaitReady("sim-chat", 3)
			}
			if again < rounds/2 {
				t.Errorf("only %d of %d answers went on elsewhere", again, rounds)
			}
			t.Logf("%d losses in %d answers", again, rounds)
		})
	}
}

// TestOneIDOneRole holds that a client of REST sees one answer.
func TestOneIDOneRole(t *testing.T) {
	c := newCluster(t, 2, simulated(true, map[string]string{"decode-rate": "400"}), nil)
	for _, n := range c.workers { // each breaks the first stream it has
		n.sim(t, http.MethodPost, "/sim/faults", `{"disconnect_after":20}`, new(json.RawMessage))
	}
	body := `{"model":"sim-chat","stream":true,` + question + `}`
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.url+"/v1/chat/completions", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+c.key)
	req.Header.Set("X-Request-Id", "one-answer")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	a := told{ids: make(map[string]bool)}
	failed := ""
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		switch {
		case !ok || data == "[DONE]":
		case strings.HasPrefix(data, `{"error"`):
			failed = data
		default:
			a.chunk(t, []byte(data))
			if a.chunks == 10 {
				for _, n := range c.workers {
					n.sim(t, http.MethodPost, "/sim/faults", `{}`, new(json.RawMessage))
				}
			}
		}
	}
	if failed != "" || a.roles != 1 || len(a.ids) != 1 || len(strings.Fields(a.text)) != 80 || a.inChunk != 80 {
		t.Errorf("got %+v, %s", a, failed)
	}
	eventually(t, "it is recorded", func() bool { return c.records()["one-answer"].Completion == 80 })
}

// TestWhatCannotGoOnEnds holds that a loss in the middle of any other answer is
// an error within a second, and that what was used is known.
func TestWhatCannotGoOnEnds(t *testing.T) {
	c := newCluster(t, 2, simulated(true, map[string]string{"decode-rate": "400"}), nil)
	for name, more := range map[string]string{
		"two choices": `,"n":2`, "a stop text": `,"stop":"zzz"`, "tools": `,"tools":[{"type":"function","function":{"name":"f"}}]`,
		"probabilities": `,"logprobs":true`, "a schema": `,"response_format":{"type":"json_object"}`, "a parameter nobody knows": `,"x_odd":1`,
	} {
		t.Run(name, func(t *testing.T) {
			var cut time.Time
			var gone *node
			got, err := c.tell(workerv1.Operation_OPERATION_CHAT, "{"+question+more+"}", func(n int, by *inferencev1.ServedBy) {
				if n == 12 {
					gone, cut = c.node(by.GetWorkerId()), time.Now()
					gone.cut()
				}
			})
			if took := time.Since(cut); err == nil || took > time.Second || !strings.Contains(err.Error(), "lost in the middle") {
				t.Errorf("%v after %v", err, took)
			}
			if int(got.usage.GetCompletionTokens()) != got.words || got.words == 0 {
				t.Errorf("%d tokens came, usage %v", got.words, got.usage)
			}
			gone.mend()
			c.awaitReady("sim-chat", 2)
		})
	}
	t.Run("no other worker", func(t *testing.T) {
		c.workers[0].cut()
		defer c.workers[0].mend()
		c.awaitReady("sim-chat", 1)
		var cut time.Time
		_, err := c.tell(workerv1.Operation_OPERATION_CHAT, "{"+question+"}", func(n int, _ *inferencev1.ServedBy) {
			if n == 12 {
				cut = time.Now()
				c.workers[1].cut()
			}
		})
		c.workers[1].mend()
		if took := time.Since(cut); err == nil || took > time.Second || !strings.Contains(err.Error(), "lost in the middle") {
			t.Errorf("%v after %v", err, took)
		}
	})
}

// TestASlowReaderHoldsNobody has clients that read nothing share workers and
// connections with one that reads: its stream comes as fast as without them.
func TestASlowReaderHoldsNobody(t *testing.T) {
	c := newCluster(t, 1, simulated(false, map[string]string{"slots": "64"}), nil)
	long := `{"messages":[{"role":"user","content":"x"}],"max_tokens":8000,"ignore_eos":true,"n":8}`
	ask := func(ctx context.Context) (inferencev1.InferenceService_InvokeStreamClient, error) {
		return c.client.InvokeStream(ctx, &inferencev1.InvokeRequest{
			Model: "sim-chat", Operation: workerv1.Operation_OPERATION_CHAT, Body: []byte(long),
		})
	}
	ctx, cancel := context.WithCancel(c.caller())
	defer cancel()
	for range 32 {
		s, err := ask(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Recv(); err != nil { // it has begun, and nobody reads on
			t.Fatal(err)
		}
	}
	var state struct{ Running int }
	c.workers[0].sim(t, http.MethodGet, "/sim/state", "", &state)
	if state.Running != 32 {
		t.Fatalf("%d streams are held up, want 32", state.Running)
	}
	began := time.Now()
	got, err := c.tell(workerv1.Operation_OPERATION_CHAT, "{"+question+"}", nil)
	if took := time.Since(began); err != nil || len(strings.Fields(got.text)) != 80 || took > 2*time.Second {
		t.Errorf("80 tokens took %v beside readers that do not read: %v", took, err)
	}
	c.workers[0].sim(t, http.MethodGet, "/sim/state", "", &state)
	if state.Running != 32 {
		t.Errorf("%d streams are held up afterwards, want 32", state.Running)
	}
	cancel()
	eventually(t, "their slots are free", func() bool {
		c.workers[0].sim(t, http.MethodGet, "/sim/state", "", &state)
		return state.Running == 0
	})
}

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

	"github.com/poterne/poterne/pkg/identity"
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
	t.Helper()
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
		resp, err := c.client.ListWorkers(identity.NewContext(c.caller(), identity.Caller{Tenant: "default", Subject: "olga"}), &inferencev1.ListWorkersRequest{})
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

package allinone

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
)

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
				c.awaitReady(t, "sim-chat", 3)
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
			c.awaitReady(t, "sim-chat", 2)
		})
	}
	t.Run("no other worker", func(t *testing.T) {
		c.workers[0].cut()
		defer c.workers[0].mend()
		var cut time.Time
		var err error
		// The one that is ready may be the one that was cut, until that is noticed.
		for try := 0; try < 5 && cut.IsZero(); try++ {
			c.awaitReady(t, "sim-chat", 1)
			_, err = c.tell(workerv1.Operation_OPERATION_CHAT, "{"+question+"}", func(n int, _ *inferencev1.ServedBy) {
				if n == 12 {
					cut = time.Now()
					c.workers[1].cut()
				}
			})
		}
		c.workers[1].mend()
		if took := time.Since(cut); err == nil || took > time.Second || !strings.Contains(err.Error(), "lost in the middle") {
			t.Errorf("%v after %v", err, took)
		}
	})
}

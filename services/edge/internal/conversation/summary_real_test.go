//go:build real

package conversation_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/identity"
	"github.com/poterne/poterne/pkg/testkit"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	"github.com/poterne/poterne/services/edge/internal/conversation"
	"github.com/poterne/poterne/services/edge/internal/jsoncodec"
)

// engine is the small model that the program comes with, in its own server.
type engine struct {
	url string
	// worked is told when it has answered.
	worked chan struct{}
}

func startEngine(t *testing.T) engine {
	t.Helper()
	server, weights := os.Getenv("POTERNE_LLAMA_SERVER"), os.Getenv("POTERNE_WEIGHTS_CHAT")
	if server == "" || weights == "" {
		t.Fatal("POTERNE_LLAMA_SERVER and POTERNE_WEIGHTS_CHAT say where the engine and its model are; see scripts/components.sh")
	}
	port := testkit.FreePorts(t, 1)[0]
	e := engine{"http://" + testkit.Loopback(port), make(chan struct{}, 100)}
	testkit.Start(t, testkit.Command{
		Name: "llama-server", Path: server, Ready: testkit.ReadyHTTP(e.url + "/health"),
		Args: []string{"--model", weights, "--host", "127.0.0.1", "--port", fmt.Sprint(port), "--ctx-size", "4096", "--parallel", "1"},
	})
	return e
}

func (engine) GetServedModel(context.Context, *inferencev1.GetServedModelRequest, ...grpc.CallOption) (*inferencev1.GetServedModelResponse, error) {
	return &inferencev1.GetServedModelResponse{Model: &inferencev1.ServedModel{Name: "small", ContextLength: 4096}}, nil
}

func (e engine) Invoke(ctx context.Context, in *inferencev1.InvokeRequest, _ ...grpc.CallOption) (*inferencev1.InvokeResponse, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.url+"/v1/chat/completions", bytes.NewReader(in.GetBody()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	e.worked <- struct{}{}
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%d %s", resp.StatusCode, body)
	}
	return &inferencev1.InvokeResponse{ServedBy: &inferencev1.ServedBy{Model: "small", Version: 1}, Body: body, Usage: new(commonv1.TokenUsage)}, err
}

func message(role, text string) *edgev1.ChatMessage {
	return &edgev1.ChatMessage{Role: role, Content: &edgev1.MessageContent{Content: &edgev1.MessageContent_Text{Text: text}}}
}

// What becomes of a fact that was told at the beginning, once the turns are summed up:
// with this model, of 135 million parameters, some are kept and answered. How many is
// reported; that it is all of them is not promised. No summary of no use takes their place.
func TestRealAFactSurvivesTheSummary(t *testing.T) {
	e, codec := startEngine(t), jsoncodec.New(jsoncodec.Options{})
	cfg := conversation.DefaultConfig()
	cfg.Summary.AfterTurns, cfg.Summary.KeepTurns, cfg.Summary.MaxTokens, cfg.Summary.Timeout = 8, 2, 64, 5*time.Minute
	ctx := identity.NewContext(t.Context(), identity.Caller{Tenant: "acme", Subject: "ada"})
	m := conversation.New(conversation.Deps{
		Config: cfg, Store: sqlite(t), Models: e, Codec: codec, Clock: clock.Real(), Log: slog.New(slog.DiscardHandler),
	})
	server := conversation.NewServer(m)
	talk := [][2]string{
		{"Tell me a colour.", "Blue."},
		{"And another?", "Green."},
		{"What is two plus two?", "Four."},
		{"Name a river.", "The Rhine."},
		{"Name a fruit.", "Apple."},
		{"Name a day.", "Monday."},
		{"Name a month.", "June."},
	}
	kept, answered := 0, 0
	facts := []struct{ said, asked, word string }{
		{"My cat is called Minka.", "What is my cat called?", "minka"},
		{"I live in Lyon.", "In which city do I live?", "lyon"},
		{"I am allergic to peanuts.", "What am I allergic to?", "peanut"},
		{"My sister's name is Ingrid.", "What is my sister's name?", "ingrid"},
	}
	for i, fact := range facts {
		id := fmt.Sprint("talk-", i)
		recall := func(text string) (*edgev1.CreateChatCompletionRequest, *conversation.Talk) {
			req := &edgev1.CreateChatCompletionRequest{Model: "small", Messages: []*edgev1.ChatMessage{message("user", text)}, Memory: &edgev1.Memory{Conversation: id}}
			turn, err := m.Recall(ctx, req)
			if err != nil {
				t.Fatal(err)
			}
			return req, turn
		}
		for _, said := range append([][2]string{{fact.said, "Thank you, I will remember that."}}, talk...) {
			_, turn := recall(said[0])
			turn.Ask()
			turn.Keep(ctx, message("assistant", said[1]))
		}
		summary := ""
		select {
		case <-e.worked:
		case <-time.After(6 * time.Minute):
			t.Fatal("nothing was to be summed up")
		}
		for end := time.Now().Add(3 * time.Second); summary == "" && time.Now().Before(end); <-time.After(50 * time.Millisecond) {
			c, err := server.GetConversation(ctx, &edgev1.GetConversationRequest{Id: id})
			if err != nil {
				t.Fatal(err)
			}
			summary = c.GetConversation().GetSummary()
		}
		req, _ := recall(fact.asked)
		most, cold := int32(32), 0.0
		req.Memory, req.MaxTokens, req.Temperature = nil, &most, &cold
		body, err := codec.Marshal(req)
		if err != nil {
			t.Fatal(err)
		}
		// Where there is a summary the turn itself is not there any more; where the model
		// made none that is of use, it is.
		if strings.Contains(strings.SplitAfter(string(body), "</summary>")[max(0, strings.Count(string(body), "</summary>"))], fact.said) == (summary != "") {
			t.Fatalf("with the summary %q the model reads %s", summary, body)
		}
		out, err := e.Invoke(ctx, &inferencev1.InvokeRequest{Body: body})
		if err != nil {
			t.Fatal(err)
		}
		<-e.worked
		answer := new(edgev1.CreateChatCompletionResponse)
		if err := codec.Unmarshal(out.GetBody(), answer); err != nil {
			t.Fatal(err)
		}
		said := answer.GetChoices()[0].GetMessage().GetContent().GetText()
		t.Logf("%q: the summary is %q, and the answer to %q is %q", fact.said, summary, fact.asked, said)
		if summary == "" || strings.Contains(strings.ToLower(summary), fact.word) {
			kept++
		}
		if strings.Contains(strings.ToLower(said), fact.word) {
			answered++
		}
	}
	t.Logf("of %d facts %d are kept, by the summary or as they were told, and %d are answered", len(facts), kept, answered)
	if kept == 0 {
		t.Error("no fact survives")
	}
}

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
type engine struct{ url string }

func startEngine(t *testing.T) engine {
	t.Helper()
	server, weights := os.Getenv("POTERNE_LLAMA_SERVER"), os.Getenv("POTERNE_WEIGHTS_CHAT")
	if server == "" || weights == "" {
		t.Fatal("POTERNE_LLAMA_SERVER and POTERNE_WEIGHTS_CHAT say where the engine and its model are; see scripts/components.sh")
	}
	port := testkit.FreePorts(t, 1)[0]
	e := engine{"http://" + testkit.Loopback(port)}
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
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%d %s", resp.StatusCode, body)
	}
	return &inferencev1.InvokeResponse{ServedBy: &inferencev1.ServedBy{Model: "small", Version: 1}, Body: body, Usage: new(commonv1.TokenUsage)}, err
}

func message(role, text string) *edgev1.ChatMessage {
	return &edgev1.ChatMessage{Role: role, Content: &edgev1.MessageContent{Content: &edgev1.MessageContent_Text{Text: text}}}
}

// A fact that was told at the beginning is in what the model makes of the turns that are
// summed up, and it answers from that: for most facts, with this model, which has 135
// million parameters. What it answers is reported; that it is perfect is not promised.
func TestRealAFactSurvivesTheSummary(t *testing.T) {
	e, codec := startEngine(t), jsoncodec.New(jsoncodec.Options{})
	cfg := conversation.DefaultConfig()
	cfg.Summary.AfterTurns, cfg.Summary.KeepTurns, cfg.Summary.MaxTokens, cfg.Summary.Timeout = 8, 2, 128, 5*time.Minute
	ctx := identity.NewContext(t.Context(), identity.Caller{Tenant: "acme", Subject: "ada"})
	m := conversation.New(conversation.Deps{
		Config: cfg, Store: sqlite(t), Models: e, Codec: codec, Clock: clock.Real(), Log: slog.New(slog.DiscardHandler),
	})
	server := conversation.NewServer(m)
	talk := [][2]string{
		{"Tell me a colour.", "Blue."}, {"And another?", "Green."}, {"What is two plus two?", "Four."}, {"Name a river.", "The Rhine."},
		{"Name a fruit.", "Apple."}, {"Name a day.", "Monday."}, {"Name a month.", "June."},
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
		for end := time.Now().Add(6 * time.Minute); summary == ""; <-time.After(100 * time.Millisecond) {
			c, err := server.GetConversation(ctx, &edgev1.GetConversationRequest{Id: id})
			if err != nil || time.Now().After(end) {
				t.Fatalf("nothing is summed up: %v", err)
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
		// The turn itself is not there any more, however the model would remember it.
		for _, said := range req.GetMessages() {
			if said.GetRole() != "system" && strings.Contains(said.GetContent().GetText(), fact.said) {
				t.Fatalf("the turn is there still: %s", body)
			}
		}
		out, err := e.Invoke(ctx, &inferencev1.InvokeRequest{Body: body})
		if err != nil {
			t.Fatal(err)
		}
		answer := new(edgev1.CreateChatCompletionResponse)
		if err := codec.Unmarshal(out.GetBody(), answer); err != nil {
			t.Fatal(err)
		}
		said := answer.GetChoices()[0].GetMessage().GetContent().GetText()
		t.Logf("%q: the summary is %q, and the answer to %q is %q", fact.said, summary, fact.asked, said)
		if strings.Contains(strings.ToLower(summary), fact.word) {
			kept++
		}
		if strings.Contains(strings.ToLower(said), fact.word) {
			answered++
		}
	}
	t.Logf("of %d facts %d are in the summary, and %d are answered", len(facts), kept, answered)
	if kept == 0 || answered == 0 {
		t.Error("no fact survives")
	}
}

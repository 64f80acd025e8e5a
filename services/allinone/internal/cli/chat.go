package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/spf13/cobra"
)

// question is what `chat` asks.
type question struct {
	model, system, collection, filter string
	topK, maxTokens                   int
	temperature                       float64
	whole, passages                   bool
	conversation                      string
}

func (a *app) chatCommand() *cobra.Command {
	var q question
	cmd := &cobra.Command{
		Use:   "chat [PROMPT...]",
		Short: "Ask a model; without a prompt, what standard input says",
		Example: `  poterne chat --model smollm2-135m "What is a postern?"
  poterne chat --model smollm2-135m --collection handbook "How many days of leave are there?"`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if q.model == "" {
				return usagef("--model is needed (poterne models list shows what there is)")
			}
			prompt := strings.Join(args, " ")
			if prompt == "" {
				raw, err := io.ReadAll(io.LimitReader(a.streams.In, 1<<20))
				if err != nil {
					return fmt.Errorf("read the prompt: %w", err)
				}
				prompt = strings.TrimSpace(string(raw))
			}
			if prompt == "" {
				return usagef("the prompt is empty")
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			if q.whole || a.settings.output != "table" {
				var answer map[string]any
				if err := c.call(cmd.Context(), http.MethodPost, "/v1/chat/completions", q.body(prompt), &answer); err != nil {
					return err
				}
				if a.settings.output != "table" {
					return a.print(answer, nil)
				}
				return a.printAnswer(answer)
			}
			return a.streamAnswer(cmd, c, q.body(prompt))
		},
	}
	f := cmd.Flags()
	f.StringVar(&q.model, "model", "", "the model: name, name@alias, name@v3 or name@sha256:… (required)")
	f.StringVar(&q.system, "system", "", "a system message before the prompt")
	f.StringVar(&q.collection, "collection", "", "answer from this collection, with citations")
	f.StringVar(&q.filter, "filter", "", "an AIP-160 filter over the documents' metadata")
	f.IntVar(&q.topK, "top-k", 5, "how many passages to look up")
	f.BoolVar(&q.passages, "require-passages", false, "with --collection: where nothing is found, say so and ask no model")
	f.StringVar(&q.conversation, "conversation", "", "go on with this conversation, or begin it; the gateway remembers it")
	f.IntVar(&q.maxTokens, "max-tokens", 0, "at most this many tokens of answer; 0 leaves it to the engine")
	f.Float64Var(&q.temperature, "temperature", -1, "sampling temperature, 0 to 2; below 0 leaves it to the engine")
	f.BoolVar(&q.whole, "no-stream", false, "print the answer when it is whole")
	return cmd
}

func (q question) body(prompt string) map[string]any {
	messages := []any{}
	if q.system != "" {
		messages = append(messages, map[string]any{"role": "system", "content": q.system})
	}
	body := map[string]any{
		"model":    q.model,
		"messages": append(messages, map[string]any{"role": "user", "content": prompt}),
	}
	if q.maxTokens > 0 {
		body["max_completion_tokens"] = q.maxTokens
	}
	if q.temperature >= 0 {
		body["temperature"] = q.temperature
	}
	if q.collection != "" {
		retrieval := map[string]any{"collection": q.collection, "top_k": q.topK}
		if q.filter != "" {
			retrieval["filter"] = q.filter
		}
		if q.passages {
			retrieval["require_passages"] = true
		}
		body["retrieval"] = retrieval
	}
	if q.conversation != "" {
		body["memory"] = map[string]any{"conversation": q.conversation}
	}
	return body
}

func (a *app) printAnswer(answer map[string]any) error {
	choices, _ := answer["choices"].([]any)
	for _, choice := range choices {
		fmt.Fprintln(a.streams.Out, lookup(choice, "message.content"))
		if notes, ok := lookup(choice, "message.annotations").([]any); ok {
			a.printCitations(notes)
		}
	}
	return nil
}

func (a *app) streamAnswer(cmd *cobra.Command, c *client, body map[string]any) error {
	body["stream"] = true
	var notes []any
	begun := false
	err := c.stream(cmd.Context(), "/v1/chat/completions", body, func(data []byte) error {
		var chunk struct {
			Choices []struct {
				Delta struct {
					Content     string `json:"content"`
					Annotations []any  `json:"annotations"`
				} `json:"delta"`
			} `json:"choices"`
		}
		if err := json.Unmarshal(data, &chunk); err != nil {
			return fmt.Errorf("a chunk is not JSON: %w", err)
		}
		begun = true
		for _, choice := range chunk.Choices {
			notes = append(notes, choice.Delta.Annotations...)
			if _, err := io.WriteString(a.streams.Out, choice.Delta.Content); err != nil {
				return err
			}
		}
		return nil
	})
	if begun { // ends the line of an answer, also of one that broke
		fmt.Fprintln(a.streams.Out)
	}
	if err != nil {
		return err
	}
	a.printCitations(notes)
	return nil
}

// printCitations prints each passage once: a stream ends with those that were cited,
// which it began with too.
func (a *app) printCitations(notes []any) {
	cited, seen := map[string]bool{}, map[string]bool{}
	for _, n := range notes {
		cited[cell(lookup(n, "number"))] = cited[cell(lookup(n, "number"))] || lookup(n, "cited") == true
	}
	for _, n := range notes {
		number := cell(lookup(n, "number"))
		if seen[number] {
			continue
		}
		seen[number] = true
		switch {
		case lookup(n, "type") == "unknown_citation":
			fmt.Fprintf(a.streams.Out, "  [%s] is cited, and no passage\n", number)
		case lookup(n, "type") == "document_citation" && cited[number]:
			fmt.Fprintf(a.streams.Out, "  [%s] %s (%s), cited\n", number, cell(lookup(n, "document_id")), cell(lookup(n, "chunk_id")))
		case lookup(n, "type") == "document_citation":
			fmt.Fprintf(a.streams.Out, "  [%s] %s (%s)\n", number, cell(lookup(n, "document_id")), cell(lookup(n, "chunk_id")))
		}
	}
}

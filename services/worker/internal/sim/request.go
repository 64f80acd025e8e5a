package sim

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
)

// request is what the engine understands of a chat or a completion; the rest
// is accepted and ignored, as by most engines.
type request struct {
	Model         string          `json:"model"`
	Messages      []message       `json:"messages"`
	Prompt        json.RawMessage `json:"prompt"`
	Stream        bool            `json:"stream"`
	StreamOptions *struct {
		IncludeUsage    bool `json:"include_usage"`
		ContinuousUsage bool `json:"continuous_usage_stats"` // needs the other one, as at vLLM
	} `json:"stream_options"`
	// ContinueFinalMessage has the answer go on with the last message.
	ContinueFinalMessage bool            `json:"continue_final_message"`
	AddGenerationPrompt  *bool           `json:"add_generation_prompt"`
	MaxTokens            *int            `json:"max_tokens"`
	MaxCompletionTokens  *int            `json:"max_completion_tokens"`
	N                    *int            `json:"n"`
	Stop                 json.RawMessage `json:"stop"`
	Seed                 *int64          `json:"seed"`
	Temperature          *float64        `json:"temperature"`
	IgnoreEOS            bool            `json:"ignore_eos"` // answer until max_tokens
	Logprobs             json.RawMessage `json:"logprobs"`
	Tools                []tool          `json:"tools"`
	ToolChoice           json.RawMessage `json:"tool_choice"`
	Sim                  control         `json:"sim"`
}

type message struct {
	Role    string          `json:"role"`
	Content json.RawMessage `json:"content"`
}

type tool struct {
	Function struct {
		Name string `json:"name"`
	} `json:"function"`
}

// control is the parameter `sim`, by which a test steers one request.
type control struct {
	// Echo has the answer carry the whole body under `sim_received`.
	Echo bool `json:"echo"`
	// Reasoning puts a text in `reasoning_content` besides the answer.
	Reasoning bool `json:"reasoning"`
	// Status is an HTTP status to fail with.
	Status int `json:"status"`
	// DisconnectAfter closes the stream after so many chunks.
	DisconnectAfter int `json:"disconnect_after"`
	// Hang never answers.
	Hang bool `json:"hang"`
	// HoldAfter stops a stream after so many tokens until its client leaves; 0
	// never.
	HoldAfter int `json:"hold_after"`
	// Crash ends the process.
	Crash bool `json:"crash"`
}

const (
	maxChoices = 128
	maxStops   = 16
)

// job is a request, understood.
type job struct {
	chat         bool
	stream       bool
	includeUsage bool
	runningUsage bool   // in every chunk
	prompt       string // all of it
	question     string // prompt without the beginning of an answer
	beginning    int    // tokens of an answer that is continued
	promptTokens int
	cached       int
	maxTokens    int
	limited      bool // the caller, or the context, limits the answer below its natural length
	choices      int
	stops        []string
	seed         uint64
	logprobs     bool
	tool         string // the tool that must be called, if one must
	control      control
	received     []byte // the body, when it is to be echoed
	requestID    string
}

// contextError is answered as vLLM words it.
type contextError struct{ limit, prompt, answer int }

func (e contextError) Error() string {
	return fmt.Sprintf("This model's maximum context length is %d tokens. However, you requested %d tokens "+
		"(%d in the messages, %d in the completion). Please reduce the length of the messages or completion.",
		e.limit, e.prompt+e.answer, e.prompt, e.answer)
}

type modelError string

func (e modelError) Error() string { return "The model `" + string(e) + "` does not exist." }

func (s *Server) parse(body []byte, chat bool) (*job, error) {
	var r request
	if err := json.Unmarshal(body, &r); err != nil {
		return nil, fmt.Errorf("the body cannot be read: %w", err)
	}
	if err := s.checkModel(r.Model); err != nil {
		return nil, err
	}
	j := &job{
		chat: chat, stream: r.Stream, includeUsage: r.StreamOptions != nil && r.StreamOptions.IncludeUsage,
		choices: 1, control: r.Sim, seed: s.cfg.Seed, tool: r.calledTool(),
		logprobs: len(r.Logprobs) > 0 && string(r.Logprobs) != "false" && string(r.Logprobs) != "null",
	}
	if r.StreamOptions != nil && !r.Stream {
		return nil, errors.New("Stream options can only be defined when `stream=True`.") //nolint:revive,staticcheck // vLLM's words
	}
	if r.Temperature != nil && (*r.Temperature < 0 || *r.Temperature > 2) {
		return nil, fmt.Errorf("temperature must be in [0, 2], got %v", *r.Temperature)
	}
	if r.N != nil {
		j.choices = *r.N
	}
	if j.choices < 1 || j.choices > maxChoices {
		return nil, fmt.Errorf("n must be in [1, %d], got %d", maxChoices, j.choices)
	}
	if r.Seed != nil {
		j.seed ^= uint64(*r.Seed) * fnvPrime
	}
	var err error
	if j.stops, err = texts(r.Stop, "stop"); err != nil {
		return nil, err
	}
	if len(j.stops) > maxStops {
		return nil, fmt.Errorf("stop must have at most %d texts", maxStops)
	}
	j.runningUsage = j.includeUsage && r.StreamOptions.ContinuousUsage
	if err := j.setPrompt(&r); err != nil {
		return nil, err
	}
	if !chat {
		j.question, j.beginning = s.words.split(j.prompt, j.seed)
	}
	if err := j.setLength(&r, s.cfg); err != nil {
		return nil, err
	}
	if r.Sim.Echo {
		j.received = body
	}
	return j, nil
}

func (s *Server) checkModel(name string) error {
	if name == "" || name == s.name || name == s.cfg.Model {
		return nil
	}
	return modelError(name)
}

func (r *request) calledTool() string {
	choice := string(r.ToolChoice)
	if len(r.Tools) == 0 || choice != `"required"` && !strings.HasPrefix(choice, "{") {
		return ""
	}
	var named tool
	if json.Unmarshal(r.ToolChoice, &named) == nil && named.Function.Name != "" {
		return named.Function.Name
	}
	return r.Tools[0].Function.Name
}

func (j *job) setPrompt(r *request) error {
	if !j.chat {
		prompts, err := texts(r.Prompt, "prompt")
		if err != nil {
			return err
		}
		if len(prompts) == 0 {
			return errors.New("prompt: Field required")
		}
		if len(prompts) > 1 {
			return errors.New("prompt: one text at a time, this is a simulator")
		}
		j.prompt, j.promptTokens = prompts[0], max(TokensOf(prompts[0]), 1)
		return nil
	}
	if len(r.Messages) == 0 {
		return errors.New("messages: Field required")
	}
	if r.ContinueFinalMessage && (r.AddGenerationPrompt == nil || *r.AddGenerationPrompt) {
		return errors.New("Cannot set both `continue_final_message` and `add_generation_prompt` to True.") //nolint:revive,staticcheck // vLLM's words
	}
	var b strings.Builder
	for i, m := range r.Messages {
		text, err := m.text()
		if err != nil {
			return fmt.Errorf("messages[%d]: %w", i, err)
		}
		if r.ContinueFinalMessage && i == len(r.Messages)-1 {
			j.question, j.beginning = b.String(), len(strings.Fields(text))
		}
		b.WriteString(m.Role)
		b.WriteByte('\n')
		b.WriteString(text)
		b.WriteByte('\n')
		j.promptTokens += TokensOf(text) + tokensPerMessage
	}
	j.prompt = b.String()
	if !r.ContinueFinalMessage {
		j.question = j.prompt
	}
	return nil
}

// text returns a message's text: a string, or the text parts put together.
func (m message) text() (string, error) {
	if m.Role == "" {
		return "", errors.New("role: Field required")
	}
	if len(m.Content) == 0 || string(m.Content) == "null" {
		return "", nil
	}
	if m.Content[0] == '"' {
		var s string
		err := json.Unmarshal(m.Content, &s)
		return s, err
	}
	var parts []struct {
		Text string `json:"text"`
	}
	if err := json.Unmarshal(m.Content, &parts); err != nil {
		return "", errors.New("content: must be a text or a list of parts")
	}
	var b strings.Builder
	for _, p := range parts {
		b.WriteString(p.Text)
	}
	return b.String(), nil
}

func (j *job) setLength(r *request, cfg Config) error {
	asked := 0
	for _, v := range []*int{r.MaxTokens, r.MaxCompletionTokens} {
		if v == nil {
			continue
		}
		if *v < 1 {
			return fmt.Errorf("max_tokens must be at least 1, got %d", *v)
		}
		asked = *v
	}
	if j.promptTokens+max(asked, 1) > cfg.ContextTokens {
		return contextError{cfg.ContextTokens, j.promptTokens, asked}
	}
	natural := max(cfg.AnswerTokens-j.beginning, 0)
	if r.IgnoreEOS {
		natural = math.MaxInt
	}
	j.maxTokens = min(natural, cfg.ContextTokens-j.promptTokens)
	if asked > 0 {
		j.maxTokens = min(j.maxTokens, asked)
	}
	j.limited = j.maxTokens < natural
	return nil
}

// texts reads a text or a list of texts.
func texts(raw json.RawMessage, field string) ([]string, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return nil, nil
	}
	if raw[0] == '"' {
		var s string
		if err := json.Unmarshal(raw, &s); err != nil {
			return nil, fmt.Errorf("%s: %w", field, err)
		}
		return []string{s}, nil
	}
	var list []string
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, fmt.Errorf("%s: must be a text or a list of texts", field)
	}
	return list, nil
}

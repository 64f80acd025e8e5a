package engine

import (
	"bytes"
	"context"
	"encoding/json"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/services/worker/internal/jsonbody"
)

// CountTokens asks the engine's tokeniser.
func (c *client) CountTokens(ctx context.Context, op Operation, body []byte) (int, error) {
	if c.d.tokenize == nil {
		return 0, apierr.New(apierr.Unimplemented, "this model's engine has no call that counts tokens")
	}
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	q, err := questionOf(op, body)
	if err != nil {
		return 0, err
	}
	if len(q.tokens) > 0 {
		return len(q.tokens), nil
	}
	return c.d.tokenize(ctx, c, q)
}

// question is a prompt to be counted: the members of a chat, one text, or
// tokens that need no counting.
type question struct {
	chat   []jsonbody.Member // nil when it is no chat
	prompt []byte            // a JSON string
	tokens []int32
}

// chatMembers are what of a chat decides its prompt. A template of the caller's
// own is not among them: it would run on the engine.
func chatMembers() []string {
	return []string{"messages", "tools", "tool_choice", "reasoning_effort", "chat_template_kwargs", "add_generation_prompt", "continue_final_message"}
}

func questionOf(op Operation, body []byte) (question, error) {
	members, err := jsonbody.Get(body, append(chatMembers(), "prompt")...)
	if err != nil {
		return question{}, badBody(err)
	}
	if op == Chat {
		return chatQuestion(members)
	}
	prompt := bytes.TrimSpace(members["prompt"])
	var ids []int32
	switch {
	case len(prompt) > 0 && prompt[0] == '"':
		return question{prompt: prompt}, nil
	case len(prompt) > 0 && json.Unmarshal(prompt, &ids) == nil && len(ids) > 0:
		return question{tokens: ids}, nil
	}
	return question{}, apierr.Invalid("prompt", "prompt must be one text, or its tokens")
}

func chatQuestion(members map[string][]byte) (question, error) {
	if m := bytes.TrimSpace(members["messages"]); len(m) == 0 || m[0] != '[' {
		return question{}, apierr.Invalid("messages", "messages must be a list")
	}
	var q question
	for _, name := range chatMembers() {
		if v, ok := members[name]; ok {
			q.chat = append(q.chat, jsonbody.Member{Name: name, Value: v})
		}
	}
	return q, nil
}

// openTokenize returns the call of vLLM and SGLang, which share its shape:
// POST /tokenize with `messages` or `prompt`, answered with `count`.
// vLLM: vllm/entrypoints/serve/tokenize/protocol.py (TokenizeChatRequest,
// TokenizeCompletionRequest); SGLang: python/sglang/srt/entrypoints/openai/
// protocol.py (TokenizeRequest). SGLang's builds before 2026 take no messages
// and refuse them.
func openTokenize(root string) func(context.Context, *client, question) (int, error) {
	return func(ctx context.Context, c *client, q question) (int, error) {
		members := append([]jsonbody.Member{{Name: "model", Value: c.model}}, q.chat...)
		if q.chat == nil {
			members = append(members, jsonbody.Member{Name: "prompt", Value: q.prompt})
		}
		var answer struct {
			Count *int `json:"count"`
		}
		if err := c.ask(ctx, root+"/tokenize", &answer, members...); err != nil {
			return 0, err
		}
		return counted(answer.Count)
	}
}

func counted(n *int) (int, error) {
	if n == nil || *n < 0 {
		return 0, apierr.New(apierr.EngineFailed, "the engine's count of tokens cannot be read")
	}
	return *n, nil
}

// ask posts an object to a call outside OpenAI's API and reads the answer.
func (c *client) ask(ctx context.Context, url string, into any, members ...jsonbody.Member) error {
	body, err := jsonbody.Set([]byte("{}"), nil, members...)
	if err != nil {
		return badBody(err)
	}
	answer, err := c.postURL(ctx, url, body)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(answer, into); err != nil {
		return apierr.Wrap(apierr.EngineFailed, err, "the engine's answer cannot be read")
	}
	return nil
}

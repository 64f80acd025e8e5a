package api

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/prompt"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/inference/internal/prefix"
)

// maxBody bounds a request with its prompt, as the contract bounds one without.
const maxBody = 16 << 20

// fill returns the request's body with the prompt's messages before its own: the
// arm's prompt where it names one, else the request's. Everything else of the body
// stays as it is.
func (s *Server) fill(req *inferencev1.InvokeRequest, j *job) ([]byte, error) {
	asked := req.GetPrompt()
	chat := req.GetOperation() == workerv1.Operation_OPERATION_CHAT
	switch {
	case asked != nil && !chat:
		return nil, apierr.Invalid("prompt", "only a conversation begins with a prompt of the registry")
	case !chat || asked == nil && j.target.Prompt == nil:
		return req.GetBody(), nil
	}
	template, err := s.promptOf(asked, j)
	if err != nil {
		return nil, err
	}
	if name := template.Missing(asked.GetVariables()); name != "" {
		return nil, apierr.Invalid(variable(name), "the variable %q of the prompt %s must be given", name, j.promptName())
	}
	said, err := template.Fill(asked.GetVariables())
	if err != nil {
		return nil, apierr.Invalid("prompt.variables", "%v", err)
	}
	return prepend(req.GetBody(), said)
}

// promptOf returns the template that serves and notes its version. The variables
// are held against the prompt that the request names, if it names one: whoever
// meets an arm with another need not know that one's.
func (s *Server) promptOf(asked *inferencev1.Prompt, j *job) (*prompt.Template, error) {
	var template *prompt.Template
	if asked != nil {
		v, err := j.snapshot.Prompt(asked.GetId(), asked.GetVersion())
		if err != nil {
			return nil, err
		}
		if template, err = v.Template(); err != nil {
			return nil, err
		}
		if name := template.Unknown(asked.GetVariables()); name != "" {
			return nil, apierr.Invalid(variable(name), "the prompt %s@v%d has no variable %q", v.Prompt, v.Number, name)
		}
		j.prompt = v
	}
	if j.target.Prompt == nil {
		return template, nil
	}
	v, err := j.snapshot.ArmPrompt(j.target.Prompt)
	if err != nil {
		return nil, err
	}
	j.prompt = v
	return v.Template()
}

func variable(name string) string { return "prompt.variables." + name }

// promptName is the version of the prompt that serves, for people to read.
func (j *job) promptName() string { return fmt.Sprintf("%s@v%d", j.prompt.Prompt, j.prompt.Number) }

// prepend puts messages before those of a body.
func prepend(body []byte, said []prompt.Said) ([]byte, error) {
	at, empty := prefix.Messages(body)
	if at < 0 {
		return nil, apierr.Invalid("messages", "messages: must be a list for a prompt to go before it")
	}
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	for i, m := range said {
		if i > 0 {
			text.WriteByte(',')
		}
		err := enc.Encode(struct {
			Role    string `json:"role"`
			Content string `json:"content"`
		}{m.Role, m.Content})
		if err != nil {
			return nil, fmt.Errorf("message of a prompt: %w", err)
		}
		text.Truncate(text.Len() - 1) // the encoder's line feed
	}
	if !empty {
		text.WriteByte(',')
	}
	if len(body)+text.Len() > maxBody {
		return nil, apierr.Invalid("prompt", "the conversation with its prompt is longer than %d bytes", maxBody)
	}
	out := make([]byte, 0, len(body)+text.Len())
	return append(append(append(out, body[:at]...), text.Bytes()...), body[at:]...), nil
}

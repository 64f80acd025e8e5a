package enduser_test

import (
	"testing"

	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	"github.com/poterne/poterne/services/edge/internal/enduser"
)

// Of several names that a request gives, the older one counts.
func TestWhichNameCounts(t *testing.T) {
	message := func(id string, extra map[string]string) *edgev1.CreateMessageRequest {
		return &edgev1.CreateMessageRequest{Metadata: &edgev1.MessageMetadata{UserId: id}, Extra: extra}
	}
	for name, c := range map[string]struct {
		req  any
		want string
	}{
		"chat, user":          {&edgev1.CreateChatCompletionRequest{User: "ada"}, "ada"},
		"chat, identifier":    {&edgev1.CreateChatCompletionRequest{SafetyIdentifier: "bob"}, "bob"},
		"chat, both":          {&edgev1.CreateChatCompletionRequest{User: "ada", SafetyIdentifier: "bob"}, "ada"},
		"response":            {&edgev1.CreateResponseRequest{SafetyIdentifier: "bob"}, "bob"},
		"response, both":      {&edgev1.CreateResponseRequest{User: "ada", SafetyIdentifier: "bob"}, "ada"},
		"count":               {&edgev1.CountTokensRequest{SafetyIdentifier: "bob"}, "bob"},
		"embedding":           {&edgev1.CreateEmbeddingRequest{User: "ada"}, "ada"},
		"message":             {message("ada", nil), "ada"},
		"message, user":       {message("", map[string]string{"user": `"ada"`, "safety_identifier": `"bob"`}), "ada"},
		"message, identifier": {message("", map[string]string{"safety_identifier": `"b\u006fb"`}), "bob"},
		"message, id first":   {message("eve", map[string]string{"safety_identifier": `"bob"`}), "eve"},
		"no text":             {message("", map[string]string{"user": `7`, "safety_identifier": `{`}), ""},
		"nobody":              {new(edgev1.CreateMessageRequest), ""},
		"nothing":             {nil, ""},
		"other":               {new(edgev1.ListModelsRequest), ""},
	} {
		if got := enduser.Of(c.req); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

package messages

import (
	"encoding/json"

	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
)

const memberUser = "user" // of a chat

// User returns whom a message is for: what Anthropic calls metadata.user_id, or the
// member user of a chat; empty where it names nobody. A message that names two is
// refused when it is answered.
func User(req *edgev1.CreateMessageRequest) string {
	if id := req.GetMetadata().GetUserId(); id != "" {
		return id
	}
	raw, given := req.GetExtra()[memberUser]
	if !given {
		return ""
	}
	var user string
	if json.Unmarshal([]byte(raw), &user) != nil {
		return "" // it is refused when it is answered
	}
	return user
}

// memberNames are the members that a chat completion has under other names.
func memberNames() map[string]string {
	return map[string]string{"max_completion_tokens": "max_tokens", "response_format": memberOutput + ".format"}
}

// stops is where a chat is to stop, however that was said.
func stops(chat *edgev1.CreateChatCompletionRequest) []string {
	if list := chat.GetStop().GetList(); list != nil {
		return list.GetSequences()
	}
	if text := chat.GetStop().GetText(); text != "" {
		return []string{text}
	}
	return nil
}

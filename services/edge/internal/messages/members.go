package messages

import edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"

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

package conversation

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/poterne/poterne/pkg/apierr"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	"github.com/poterne/poterne/services/edge/internal/responseitem"
)

// itemsOf returns what was said in a conversation as items, the first one first.
// created is when it began.
func itemsOf(c *edgev1.Conversation, created time.Time) []*edgev1.ResponseItem {
	var out []*edgev1.ResponseItem
	for _, turn := range c.GetTurns() {
		out = append(out, turnItems(turn, created)...)
	}
	return out
}

// turnItems returns a turn's items. Their ids follow from when the conversation began,
// the turn's number and their places in it, so that nothing has to be kept for them,
// until one is taken out.
func turnItems(turn *edgev1.ConversationTurn, created time.Time) []*edgev1.ResponseItem {
	var out []*edgev1.ResponseItem
	for _, m := range turn.GetMessages() {
		out = append(out, responseitem.Of(m)...)
	}
	own := turn.GetItemIds()
	for i, item := range out {
		if len(own) == len(out) {
			item.Id = own[i]
			continue
		}
		item.Id = fmt.Sprintf("%s%014x%06x%04x", responseitem.Prefix(item.GetType()), created.UnixMicro(), turn.GetNumber(), i)
	}
	return out
}

// take takes an item out of a conversation, and reports whether it was there.
func take(c *edgev1.Conversation, created time.Time, id string) bool {
	for i, turn := range c.GetTurns() {
		items := turnItems(turn, created)
		for at, item := range items {
			if item.GetId() != id {
				continue
			}
			if takeAt(turn, items, at); len(turn.GetMessages()) == 0 {
				c.Turns = slices.Concat(c.GetTurns()[:i], c.GetTurns()[i+1:])
			}
			return true
		}
	}
	return false
}

// takeAt takes the item at a place out of a turn that has items, whose others keep
// their ids.
func takeAt(turn *edgev1.ConversationTurn, items []*edgev1.ResponseItem, at int) {
	ids := make([]string, 0, len(items))
	for i, item := range items {
		if i != at {
			ids = append(ids, item.GetId())
		}
	}
	turn.ItemIds = ids
	for i, m := range turn.GetMessages() {
		n := len(responseitem.Of(m))
		if at >= n {
			at -= n
			continue
		}
		if !responseitem.Without(m, at) {
			turn.Messages = slices.Concat(turn.GetMessages()[:i], turn.GetMessages()[i+1:])
		}
		return
	}
}

// messagesOf is what items say, as messages, in turns: a new one begins with what a user
// says after somebody else did.
func messagesOf(items []*edgev1.ResponseItem) ([][]*edgev1.ChatMessage, error) {
	var chat responseitem.Chat
	for i, item := range items {
		at := fmt.Sprintf("items[%d]", i)
		if item.GetType() == responseitem.Reasoning {
			return nil, apierr.Invalid(at+".type", "%s.type: thoughts are not kept in conversations", at)
		}
		if item.GetType() == "" {
			item.Type = responseitem.Message
		}
		if err := onlyWords(item, at); err != nil {
			return nil, err
		}
		if err := chat.Add(item, at); err != nil {
			return nil, err
		}
	}
	var turns [][]*edgev1.ChatMessage
	for i, m := range chat.Messages {
		if i == 0 || m.GetRole() == "user" && chat.Messages[i-1].GetRole() != "user" {
			turns = append(turns, nil)
		}
		turns[len(turns)-1] = append(turns[len(turns)-1], m)
	}
	return turns, nil
}

// onlyWords refuses what a conversation would keep the name of alone.
func onlyWords(item *edgev1.ResponseItem, at string) error {
	content, at := item.GetContent(), at+".content"
	if item.GetType() == responseitem.Output {
		content, at = item.GetOutput(), strings.TrimSuffix(at, "content")+"output"
	}
	for i, p := range content.GetParts().GetParts() {
		if p.GetType() == "input_image" {
			field := fmt.Sprintf("%s[%d].type", at, i)
			return apierr.Invalid(field, "%s: conversations keep words only: input_text, output_text and refusal", field)
		}
	}
	return nil
}

// addTurns adds turns to a conversation, and returns their items.
func addTurns(c *edgev1.Conversation, turns [][]*edgev1.ChatMessage, created, now time.Time) []*edgev1.ResponseItem {
	var out []*edgev1.ResponseItem
	for _, messages := range turns {
		c.TurnCount++
		turn := &edgev1.ConversationTurn{Number: c.GetTurnCount(), CreateTime: timestamppb.New(now), Messages: messages}
		c.Turns = append(c.Turns, turn)
		out = append(out, turnItems(turn, created)...)
	}
	return out
}

// madePrefix is what the ids begin with that the gateway chooses.
const madePrefix = "conv_"

// newID returns an id that the gateway chooses.
func (m *Memory) newID() string { return madePrefix + strings.ReplaceAll(m.IDs.New(), "-", "") }

// made reports whether an id has the form of those that the gateway chooses. No turn
// begins a conversation of such a name: it was deleted, or never was.
func made(id string) bool {
	rest, ok := strings.CutPrefix(id, madePrefix)
	return ok && len(rest) == 32 && strings.Trim(rest, "0123456789abcdef") == ""
}

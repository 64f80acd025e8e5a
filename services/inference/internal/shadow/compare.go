package shadow

import (
	"encoding/json"
	"strings"
)

// maxWords bounds the words of an answer that are compared.
const maxWords = 1 << 14

// completion is what is read of an answer in OpenAI's shape, or of a chunk of one.
type completion struct {
	Choices []struct {
		Index   int     `json:"index"`
		Text    string  `json:"text"`
		Message *spoken `json:"message"`
		Delta   *spoken `json:"delta"`
	} `json:"choices"`
}

type spoken struct {
	Content   string `json:"content"`
	ToolCalls []struct {
		Function struct {
			Name      string `json:"name"`
			Arguments string `json:"arguments"`
		} `json:"function"`
	} `json:"tool_calls"`
}

// textOf returns the text and the tool calls of an answer's first choice, which
// came in one or more parts; false when a part is not an answer.
func textOf(parts [][]byte) (string, bool) {
	var b strings.Builder
	for _, part := range parts {
		var c completion
		if json.Unmarshal(part, &c) != nil {
			return "", false
		}
		for _, choice := range c.Choices {
			if choice.Index != 0 {
				continue
			}
			b.WriteString(choice.Text)
			for _, s := range []*spoken{choice.Message, choice.Delta} {
				if s == nil {
					continue
				}
				b.WriteString(s.Content)
				for _, call := range s.ToolCalls {
					b.WriteString(call.Function.Name)
					b.WriteString(call.Function.Arguments)
				}
			}
		}
	}
	return b.String(), true
}

// similarity is the coefficient of Dice ("Measures of the Amount of Ecologic
// Association Between Species", 1945) and Sørensen over the texts' pairs of
// neighbouring words: 1 for the same pairs as often, 0 for none in common.
func similarity(a, b string) float64 {
	pairs := make(map[[2]string]int)
	left := eachPair(a, func(p [2]string) { pairs[p]++ })
	common := 0
	right := eachPair(b, func(p [2]string) {
		if pairs[p] > 0 {
			pairs[p]--
			common++
		}
	})
	if left+right == 0 {
		return 1
	}
	return 2 * float64(common) / float64(left+right)
}

// eachPair gives each pair of neighbouring words to fn, the edges of the text
// counting as words, and returns how many there were.
func eachPair(text string, fn func([2]string)) int {
	n, last := 0, ""
	for word := range strings.FieldsSeq(text) {
		if n >= maxWords {
			return n
		}
		fn([2]string{last, word})
		n, last = n+1, word
	}
	if n > 0 {
		fn([2]string{last, ""})
		n++
	}
	return n
}

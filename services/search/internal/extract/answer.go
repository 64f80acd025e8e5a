package extract

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode"

	"github.com/poterne/poterne/pkg/apierr"
)

// PDFAnswer is what the program that reads PDFs says: a document, or the reason
// why there is none.
type PDFAnswer struct {
	Title   string        `json:"title,omitempty"`
	Text    string        `json:"text,omitempty"`
	Reason  apierr.Reason `json:"reason,omitempty"`
	Message string        `json:"message,omitempty"`
}

// messageRunes is how long a reason may be that a caller is shown.
const messageRunes = 256

// documentOf reads an answer of at most so many bytes of text. A file may have
// taken over the program that reads it, so what it says is believed as little as
// the file: it is a document within the limits or that file's own fault.
func documentOf(raw []byte, most int) (Document, error) {
	var a PDFAnswer
	if err := json.Unmarshal(raw, &a); err != nil {
		return Document{}, fmt.Errorf("read the answer of %d bytes: %w", len(raw), err)
	}
	if a.Reason == "" {
		if len(a.Text) > most {
			return Document{}, tooLarge("holds a text of more than %d bytes", most)
		}
		return Document{Title: a.Title, Text: a.Text}, nil
	}
	reason := apierr.InvalidArgument
	if a.Reason == apierr.PayloadTooLarge {
		reason = a.Reason
	}
	message := []rune(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, a.Message))
	if len(message) > messageRunes {
		message = message[:messageRunes]
	}
	return Document{}, apierr.New(reason, "%s", string(message)).WithField(fieldContent)
}

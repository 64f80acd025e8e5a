package extract

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/html/charset"
	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/unicode"

	"github.com/poterne/poterne/pkg/apierr"
)

// decode returns a text by its byte order mark, else by the declared charset,
// else as UTF-8. What is not of its charset is refused rather than guessed.
func decode(content []byte, declared string) (string, error) {
	if e := marked(content); e != nil {
		return decodeAs(content, e)
	}
	if declared != "" && !strings.EqualFold(declared, "utf-8") {
		e, err := htmlindex.Get(declared)
		if err != nil {
			return "", apierr.Invalid(fieldType, "names a charset that is not known: %.32q", declared)
		}
		return decodeAs(content, e)
	}
	if !utf8.Valid(content) {
		return "", apierr.Invalid(fieldContent, "is not valid UTF-8: say its charset in content_type, such as text/plain; charset=iso-8859-1")
	}
	return string(content), nil
}

// marked returns the encoding that a byte order mark tells of; nil without one.
func marked(content []byte) encoding.Encoding {
	switch {
	case bytes.HasPrefix(content, []byte("\xef\xbb\xbf")):
		return unicode.UTF8BOM
	case bytes.HasPrefix(content, []byte("\xff\xfe")), bytes.HasPrefix(content, []byte("\xfe\xff")):
		return unicode.UTF16(unicode.BigEndian, unicode.ExpectBOM)
	default:
		return nil
	}
}

func decodeAs(content []byte, e encoding.Encoding) (string, error) {
	out, err := e.NewDecoder().Bytes(content)
	if err != nil {
		return "", apierr.Invalid(fieldContent, "cannot be decoded by its charset")
	}
	return string(out), nil
}

// decodeHTML is decode for HTML, which may declare its charset in itself.
func decodeHTML(content []byte, contentType string) (string, error) {
	if e := marked(content); e != nil {
		return decodeAs(content, e)
	}
	if utf8.Valid(content) && !strings.Contains(strings.ToLower(contentType), "charset=") {
		return string(content), nil
	}
	e, _, _ := charset.DetermineEncoding(content[:min(len(content), 1024)], contentType)
	return decodeAs(content, e)
}

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
	case bytes.HasPrefix(content, []byte("\xff\xfe")):
		return unicode.UTF16(unicode.LittleEndian, unicode.UseBOM)
	case bytes.HasPrefix(content, []byte("\xfe\xff")):
		return unicode.UTF16(unicode.BigEndian, unicode.UseBOM)
	default:
		return nil
	}
}

func decodeAs(content []byte, e encoding.Encoding) (string, error) {
	out, err := e.NewDecoder().Bytes(content)
	if err != nil || bytes.ContainsRune(out, utf8.RuneError) && !written(content, out, e) {
		return "", apierr.Invalid(fieldContent, "cannot be decoded by its charset")
	}
	return string(out), nil
}

// written reports whether content is how e writes text. A decoder puts U+FFFD
// for what it cannot read; this tells those from the ones that were written.
func written(content, text []byte, e encoding.Encoding) bool {
	again, err := e.NewEncoder().Bytes(text)
	return err == nil && bytes.Equal(again, content)
}

// decodeHTML is decode for HTML, which may declare its charset in itself. A page
// that is valid UTF-8 is taken as that, whatever its <meta> was left to say.
func decodeHTML(content []byte, declared string) (string, error) {
	if declared == "" && !utf8.Valid(content) {
		declared = metaCharset(content)
	}
	return decode(content, declared)
}

// metaCharset returns the charset that a page declares in <meta>, else utf-8.
func metaCharset(content []byte) string {
	// DetermineEncoding guesses where nothing is declared: UTF-8 if what is beyond
	// ASCII is valid as that, which here is one letter put behind the rest.
	head := bytes.Map(func(r rune) rune { return min(r, utf8.RuneSelf-1) }, content[:min(len(content), 1021)])
	_, name, _ := charset.DetermineEncoding(append(head, "éa"...), "")
	return name
}

package extract

import (
	"errors"
	"io"
	"strings"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"

	"github.com/poterne/poterne/pkg/apierr"
)

// html takes the text out of HTML from its tokens, without a tree: what it costs
// grows with the file, however deep that nests.
func (x *Extractor) html(content []byte, declared string) (Document, error) {
	text, err := decodeHTML(content, declared)
	if err != nil {
		return Document{}, err
	}
	w := &htmlWriter{limits: x.limits}
	z := html.NewTokenizer(strings.NewReader(text))
	for {
		switch z.Next() {
		case html.ErrorToken:
			if errors.Is(z.Err(), io.EOF) {
				return Document{Title: w.title.String(), Text: strings.TrimSpace(w.out.String())}, nil
			}
			return Document{}, apierr.Invalid(fieldContent, "cannot be read as HTML")
		case html.StartTagToken:
			t := z.Token()
			w.conceal(t)
			w.start(t.DataAtom)
		case html.EndTagToken:
			name, _ := z.TagName()
			a := atom.Lookup(name)
			w.end(a)
			w.reveal(w.concealed.end(string(name), a))
		case html.SelfClosingTagToken:
			name, _ := z.TagName()
			w.start(atom.Lookup(name))
			w.end(atom.Lookup(name))
		case html.TextToken:
			w.text(string(z.Text()))
		case html.CommentToken, html.DoctypeToken:
		}
		switch {
		case w.depth > x.limits.Depth:
			return Document{}, apierr.Invalid(fieldContent, "nests deeper than %d elements", x.limits.Depth)
		case w.out.Len() > x.limits.OutputBytes:
			return Document{}, tooLarge("holds a text of more than %d bytes", x.limits.OutputBytes)
		}
	}
}

// htmlWriter makes text of tokens.
type htmlWriter struct {
	limits  Limits
	out     strings.Builder
	title   strings.Builder
	depth   int
	hidden  int // elements open of which nothing is shown
	titled  bool
	pre     int
	pending string // white space before the next word: "", " ", "\n" or "\n\n"
	open    bool   // something was written since the last mark
	// concealed is one of the elements of which nothing is shown.
	concealed concealment
}

// conceal has nothing be shown of an element that says so.
func (w *htmlWriter) conceal(t html.Token) {
	w.reveal(w.concealed.start(t.Data, t.DataAtom))
	if w.concealed.begin(t.Data, t.DataAtom, t.Attr) {
		w.hidden++
	}
}

func (w *htmlWriter) reveal(ended bool) {
	if ended {
		w.hidden = max(0, w.hidden-1)
	}
}

func (w *htmlWriter) start(a atom.Atom) {
	if nests(a) {
		w.depth++
	}
	switch a {
	case atom.Script, atom.Style, atom.Template, atom.Svg, atom.Math, atom.Noscript, atom.Iframe, atom.Object:
		w.hidden++
	case atom.Title:
		w.titled = w.hidden == 0 // a drawing has titles, too
	case atom.H1, atom.H2, atom.H3, atom.H4, atom.H5, atom.H6:
		w.space("\n\n")
		w.mark(strings.Repeat("#", int(a.String()[1]-'0')) + " ")
	case atom.Li:
		w.space("\n")
		w.mark("- ")
	case atom.Pre:
		w.space("\n\n")
		if w.pre++; w.pre == 1 {
			w.mark("```\n")
		}
	case atom.Tr, atom.Br, atom.Dt, atom.Dd:
		w.space("\n")
	case atom.Td, atom.Th:
		if w.open && w.pending != "\n" && w.pending != "\n\n" {
			w.mark(" | ")
		}
	default:
		if block(a) {
			w.space("\n\n")
		}
	}
}

func (w *htmlWriter) end(a atom.Atom) {
	if nests(a) {
		w.depth = max(0, w.depth-1)
	}
	switch a {
	case atom.Script, atom.Style, atom.Template, atom.Svg, atom.Math, atom.Noscript, atom.Iframe, atom.Object:
		w.hidden = max(0, w.hidden-1)
	case atom.Title:
		w.titled = false
	case atom.Pre:
		if w.pre > 0 {
			if w.pre--; w.pre == 0 {
				w.mark("\n```")
			}
		}
		w.space("\n\n")
	case atom.Tr, atom.Li:
		w.space("\n")
	default:
		if block(a) {
			w.space("\n\n")
		}
	}
}

// space has white space before what comes next, the most of what was asked for.
func (w *htmlWriter) space(s string) {
	if len(s) > len(w.pending) || s[0] == '\n' && w.pending == " " {
		w.pending = s
	}
}

// mark writes a mark of structure.
func (w *htmlWriter) mark(s string) {
	if w.hidden > 0 || w.titled {
		return
	}
	w.flush()
	w.out.WriteString(s)
	w.open = true
}

func (w *htmlWriter) flush() {
	if w.out.Len() > 0 {
		w.out.WriteString(w.pending)
	}
	w.pending = ""
}

func (w *htmlWriter) text(s string) {
	switch {
	case w.titled:
		if w.title.Len() < 4*titleRunes {
			w.title.WriteString(s)
		}
	case w.hidden > 0:
	case w.pre > 0:
		w.flush()
		w.out.WriteString(s)
	default:
		w.words(s)
	}
}

// words writes text in which any white space is one space.
func (w *htmlWriter) words(s string) {
	fields := strings.Fields(s)
	if len(s) > 0 && strings.ContainsRune(" \t\r\n\f", rune(s[0])) {
		w.space(" ")
	}
	for i, f := range fields {
		if i > 0 {
			w.space(" ")
		}
		w.flush()
		w.out.WriteString(f)
		w.open = true
	}
	if len(fields) > 0 && strings.ContainsRune(" \t\r\n\f", rune(s[len(s)-1])) {
		w.space(" ")
	}
}

// block reports whether an element is a paragraph of its own.
func block(a atom.Atom) bool {
	switch a {
	case atom.P, atom.Div, atom.Section, atom.Article, atom.Header, atom.Footer, atom.Main, atom.Nav, atom.Aside,
		atom.Ul, atom.Ol, atom.Dl, atom.Table, atom.Blockquote, atom.Figure, atom.Figcaption, atom.Form, atom.Fieldset,
		atom.Hr, atom.Body, atom.H1, atom.H2, atom.H3, atom.H4, atom.H5, atom.H6, atom.Address, atom.Details, atom.Summary:
		return true
	default:
		return false
	}
}

// nests reports whether an element must be closed, so that those that are open
// tell how deep a document nests.
func nests(a atom.Atom) bool {
	switch a {
	case atom.P, atom.Li, atom.Dt, atom.Dd, atom.Tr, atom.Td, atom.Th, atom.Tbody, atom.Thead, atom.Tfoot, atom.Option, atom.Body,
		atom.Html, atom.Head, atom.Br, atom.Hr, atom.Img, atom.Input, atom.Link, atom.Meta, atom.Area, atom.Base, atom.Col,
		atom.Embed, atom.Source, atom.Track, atom.Wbr, atom.Param, atom.Colgroup, atom.Optgroup, atom.Rp, atom.Rt:
		return false
	default:
		return true
	}
}

package syntax

import (
	"fmt"
	"strings"
	"testing"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/services/search/internal/analysis"
)

func shown(phrases []analysis.Phrase) string {
	out := make([]string, len(phrases))
	for i, p := range phrases {
		words := make([]string, len(p))
		for j, w := range p {
			words[j] = w[0]
		}
		out[i] = strings.Join(words, " ")
	}
	return strings.Join(out, "|")
}

func TestParse(t *testing.T) {
	for query, want := range map[string]struct{ text, require, exclude string }{
		`flow over wings`:            {`flow over wings`, ``, ``},
		`"boundary layer" flow`:      {`boundary layer flow`, `boundari layer`, ``},
		`flow +wing -cylinder heat`:  {`flow wing heat`, `wing`, `cylind`},
		`« couche limite » aile`:     {`couche limite aile`, `couch limit`, ``},
		`“boundary layer”, „a b“`:    {`boundary layer , a b`, `boundari layer|a b`, ``},
		`-"boundary layer" flow`:     {`flow`, ``, `boundari layer`},
		`+"boundary layer"`:          {`boundary layer`, `boundari layer`, ``},
		`(+wing OR -heat)`:           {`(wing OR`, `wing`, `heat`},
		`x-ray C++ c - d + e`:        {`x-ray C++ c - d + e`, ``, ``},
		`-x-ray now`:                 {`now`, ``, `x ray`},
		`at -40 degrees, +33 1 23`:   {`at -40 degrees, +33 1 23`, ``, ``},
		`--verbose ++i -$x -`:        {`--verbose ++i -$x -`, ``, ``},
		`5" and 6" screens`:          {`5" and 6" screens`, ``, ``},
		`"not closed`:                {`"not closed`, ``, ``},
		`say "hello"world`:           {`say "hello"world`, ``, ``},
		`"" "!?" « »`:                {`"" "!?" « »`, ``, ``},
		`+l'aile -qu'il`:             {`l'aile`, `ail`, `il`},
		`-only`:                      {``, ``, `onli`},
		`+wing"tip top"`:             {`wing tip top`, `wing|tip top`, ``},
		"+wing\u00a0+tip":            {`wing tip`, `wing|tip`, ``},
		`word+ word- "a" 'not this'`: {`word+ word- a 'not this'`, `a`, ``},
		`dit « oui »`:                {`dit oui`, `oui`, ``},
	} {
		q, err := Parse(query)
		if err != nil {
			t.Errorf("%s: %v", query, err)
			continue
		}
		text := strings.Join(strings.Fields(q.Text), " ")
		if text != want.text || shown(q.Require) != want.require || shown(q.Exclude) != want.exclude {
			t.Errorf("%s: got %q, required %q, excluded %q", query, text, shown(q.Require), shown(q.Exclude))
		}
		for i, s := range q.Excluded {
			if got := shown([]analysis.Phrase{analysis.PhraseOf(query[s.Start:s.End])}); got != shown(q.Exclude[i:i+1]) {
				t.Errorf("%s: the excluded part %d reads %q", query, i, got)
			}
		}
	}
}

func TestTooMuchIsRefused(t *testing.T) {
	for what, query := range map[string]string{
		"conditions": strings.Repeat("+a ", MaxConditions+1),
		"words":      `"` + strings.Repeat("a ", MaxWords+1) + `"`,
	} {
		_, err := Parse(query)
		if e := apierr.From(err); err == nil || e.Reason != apierr.InvalidArgument || e.Field != "query" {
			t.Errorf("%s: got %v", what, err)
		}
	}
	if _, err := Parse(strings.Repeat("+a ", MaxConditions)); err != nil {
		t.Error(err)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{`"a b" +c -d « e »`, "-\"", "+«", "\xff+a \xff\"b\"", `„a“ -“b”`, ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		q, err := Parse(s)
		if err != nil {
			return
		}
		if len(q.Require)+len(q.Exclude) == 0 && q.Text != s {
			t.Errorf("%q without conditions became %q", s, q.Text)
		}
		if len(q.Excluded) != len(q.Exclude) {
			t.Errorf("%q: %d parts, %d conditions", s, len(q.Excluded), len(q.Exclude))
		}
		last := 0
		for _, e := range q.Excluded {
			if e.Start < last || e.End <= e.Start || e.End > len(s) {
				t.Errorf("%q: part %v", s, e)
			}
			last = e.End
		}
		// Every word of the query is in the text or excluded.
		kept, all := len(analysis.Tokens(q.Text)), fmt.Sprint(len(analysis.Tokens(s)))
		for _, p := range q.Exclude {
			kept += len(p)
		}
		if len(q.Require)+len(q.Exclude) > 0 && kept == 0 && all != "0" {
			t.Errorf("%q lost its words", s)
		}
	})
}

package detect

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The kinds of attempts to give a model other instructions than its operator's.
// What is found is a wording: a text that speaks of such attempts has it too, and
// one that is worded otherwise has not (OWASP, LLM01).
const (
	// Override asks to leave instructions aside.
	Override Kind = "injection/override"
	// Reveal asks for the instructions.
	Reveal Kind = "injection/reveal"
	// Jailbreak asks to play somebody without rules.
	Jailbreak Kind = "injection/jailbreak"
	// Template is what a model's template marks messages by.
	Template Kind = "injection/template"
	// Hidden is characters that people do not see.
	Hidden Kind = "injection/hidden"
)

// phrase is a wording: words of each list after another, and up to so many of the
// fillers before each but the first.
type phrase struct {
	kind    Kind
	fillers []string
	max     int
	words   [][]string
}

// phrases finds wordings, whatever stands between their words and in whatever
// case and accents.
type phrases struct {
	byFirst map[string][]phrase
	starts  set
}

// maxPhrase bounds a wording in bytes.
const maxPhrase = 200

func list(s string) []string { return strings.Fields(s) }

// newPhrases returns the detector of wordings, in English, French, German and
// Spanish.
func newPhrases() Detector {
	instructions := list("instruction instructions prompt prompts rule rules guideline guidelines directive directives command commands message messages context")
	p := &phrases{byFirst: make(map[string][]phrase)}
	for _, one := range []phrase{
		{Override, list("all any every everything of the my your our these those this that given to you were and or have been"), 6, [][]string{
			list("ignore disregard forget override bypass discard neglect"),
			list("previous prior above earlier preceding former existing system initial original past"), instructions,
		}},
		{Override, list("all any of the your about that were told to"), 4, [][]string{list("ignore disregard forget"), list("everything anything"), list("above before previously")}},
		{Override, list("toutes tous toute tout les tes vos ces mes de des la le ta votre et ou"), 6, [][]string{
			list("ignore ignorez ignorer oublie oubliez oublier negligez"), list("instruction instructions consigne consignes regle regles directives prompt"),
			list("precedente precedentes precedent precedents anterieure anterieures anterieurs systeme initial dessus"),
		}},
		{Override, list("alle alles die deine ihre diese der und"), 5, [][]string{
			list("ignoriere ignorieren vergiss vergessen missachte"), list("vorherigen vorigen bisherigen obigen fruheren"), list("anweisungen anweisung regeln befehle vorgaben prompts"),
		}},
		{Override, list("todas todos las los tus sus estas de la y"), 5, [][]string{
			list("ignora ignore olvida olvide omite"), list("instrucciones reglas indicaciones ordenes"), list("anteriores previas iniciales"),
		}},
		{Reveal, list("me us the your full entire exact complete whole hidden secret original initial verbatim of to out word for"), 6, [][]string{
			list("reveal show print repeat output display leak expose recite dump"), list("system developer"), list("prompt prompts instruction instructions message"),
		}},
		{Reveal, list("moi le la les ton ta tes votre vos entier complet exact"), 5, [][]string{
			list("affiche affichez montre montrez revele revelez repete repetez donne"), list("prompt instructions consignes"), list("systeme systemes caches cachees"),
		}},
		{Jailbreak, list("are is will be act as a an in the"), 4, [][]string{list("you"), list("now"), list("dan jailbroken unrestricted unfiltered uncensored")}},
		{Jailbreak, nil, 0, [][]string{list("do"), list("anything"), list("now")}},
		{Jailbreak, list("is has been now"), 3, [][]string{list("developer god jailbreak dan"), list("mode"), list("enabled activated on")}},
	} {
		for _, w := range one.words[0] {
			p.byFirst[w] = append(p.byFirst[w], one)
			p.starts[w[0]], p.starts[w[0]-'a'+'A'] = true, true
		}
	}
	return p
}

func (p *phrases) Kinds() []Kind { return []Kind{Override, Reveal, Jailbreak} }

func (p *phrases) Starts(b byte) bool { return p.starts[b] }

func (p *phrases) Match(text string, whole bool) (Kind, int, Verdict) {
	if len(text) >= maxPhrase {
		text, whole = text[:maxPhrase], true
	}
	first, n, more := wordOf(text, whole)
	if more {
		return "", 0, More
	}
	for _, one := range p.byFirst[first] {
		if n, v := one.match(text, n, whole); v != No {
			return one.kind, n, v
		}
	}
	return "", 0, No
}

// match looks at what follows the first word, which ends at the byte at.
func (p phrase) match(text string, at int, whole bool) (int, Verdict) {
	for _, words := range p.words[1:] {
		for fill := 0; ; {
			gap, more := gapOf(text[at:], whole)
			if more {
				return 0, More
			}
			if gap == 0 {
				return 0, No
			}
			at += gap
			word, n, more := wordOf(text[at:], whole)
			if more {
				return 0, More
			}
			if n == 0 {
				return 0, No
			}
			at += n
			if slices.Contains(words, word) {
				break
			}
			if fill++; fill > p.max || !slices.Contains(p.fillers, word) {
				return 0, No
			}
		}
	}
	return at, Yes
}

// wordOf returns the word that text begins with, in lower case and without
// accents, and its length.
func wordOf(text string, whole bool) (word string, n int, more bool) {
	var b strings.Builder
	for n < len(text) && isLetter(text[n]) {
		n++
	}
	if n < len(text) && text[n] < utf8.RuneSelf { // the ordinary case
		return strings.ToLower(text[:n]), n, false
	}
	for n = 0; n < len(text); {
		r, size := utf8.DecodeRuneInString(text[n:])
		if !unicode.IsLetter(r) && !unicode.Is(unicode.Mn, r) {
			return b.String(), n, false
		}
		if !unicode.Is(unicode.Mn, r) {
			b.WriteRune(plain(r))
		}
		n += size
	}
	return b.String(), n, !whole
}

// plain is a letter without its accent, as far as the wordings have any.
func plain(r rune) rune {
	switch r = unicode.ToLower(r); r {
	case 'à', 'â', 'ä', 'á', 'å':
		return 'a'
	case 'é', 'è', 'ê', 'ë':
		return 'e'
	case 'î', 'ï', 'í':
		return 'i'
	case 'ô', 'ö', 'ó':
		return 'o'
	case 'ù', 'û', 'ü', 'ú':
		return 'u'
	case 'ç':
		return 'c'
	default:
		return r
	}
}

// gapOf returns the length of what stands between two words of a wording: blanks
// and a sign or two, such as the comma and the hyphen.
func gapOf(text string, whole bool) (int, bool) {
	n := 0
	for n < len(text) && n < 8 {
		r, size := utf8.DecodeRuneInString(text[n:])
		if !unicode.IsSpace(r) && !strings.ContainsRune(`,-–_*"'’:`, r) {
			return n, false
		}
		n += size
	}
	return n, n == len(text) && !whole
}

// templateToken finds what the templates of chat models mark messages by: <|im_start|>,
// [INST], <<SYS>>, <start_of_turn>.
type templateToken struct{ name *set }

func newTemplateToken() templateToken { return templateToken{name: setOf(base62 + "_")} }

func (templateToken) Kinds() []Kind { return []Kind{Template} }

func (templateToken) Starts(b byte) bool { return b == '<' || b == '[' }

func (t templateToken) Match(text string, whole bool) (Kind, int, Verdict) {
	more := false
	for _, mark := range []string{"[INST]", "[/INST]", "[SYSTEM_PROMPT]", "<<SYS>>", "<</SYS>>", "<start_of_turn>", "<end_of_turn>"} {
		switch prefixed(text, mark, whole) {
		case Yes:
			return Template, len(mark), Yes
		case More:
			more = true
		case No:
		}
	}
	switch prefixed(text, "<|", whole) {
	case Yes:
		n, cut := t.name.while(text[2:], whole, 40)
		if cut {
			return "", 0, More
		}
		if n == 0 {
			return "", 0, No
		}
		v := prefixed(text[2+n:], "|>", whole)
		return Template, 2 + n + 2, v
	case More:
		more = true
	case No:
	}
	if more {
		return "", 0, More
	}
	return "", 0, No
}

// hiddenText finds runs of characters that show nothing but that a model reads:
// Unicode's tags, which spell text out, overrides of the writing direction, and
// many characters of no width.
type hiddenText struct{}

// minNoWidth is how many characters of no width in a row are found; one or two
// are in ordinary text of some scripts, and in emoji.
const minNoWidth = 4

func (hiddenText) Kinds() []Kind { return []Kind{Hidden} }

// Starts is for the first bytes of U+2000 to U+2FFF, U+F000 to U+FFFF and U+E0000.
func (hiddenText) Starts(b byte) bool { return b == 0xe2 || b == 0xef || b == 0xf3 }

func (hiddenText) Match(text string, whole bool) (Kind, int, Verdict) {
	n, noWidth, certain := 0, 0, false
	for n < len(text) && n < maxPhrase {
		r, size := utf8.DecodeRuneInString(text[n:])
		switch {
		case 0xe0000 <= r && r <= 0xe007f: // tags; flags of regions have up to six, after a black flag
			noWidth++
			certain = certain || noWidth > 6
		case 0x202a <= r && r <= 0x202e, 0x2066 <= r && r <= 0x2069:
			certain = true
		case r == 0x200b, r == 0x200c, r == 0x200d, r == 0x2060, r == 0xfeff:
			noWidth++
			certain = certain || noWidth >= minNoWidth && 0x2000 <= r
		default:
			if certain {
				return Hidden, n, Yes
			}
			return "", 0, No
		}
		n += size
	}
	if n == len(text) && n < maxPhrase && !whole {
		return "", 0, More
	}
	if certain {
		return Hidden, n, Yes
	}
	return "", 0, No
}

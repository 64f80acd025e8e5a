package cli

import (
	"slices"
	"strings"
	"testing"
)

func TestLeakedLines(t *testing.T) {
	key := "ptn_mpjtb9d5mpjtb9d5_dHMOUNLh0UTx6gmQ9MHQdRUvZdbXMLLlzChlYYN1shx31tayT"
	texts, numbers, err := leakedLines(strings.NewReader("nothing\nA=" + key + " B=\"" + key + "\"\n\nptn_short_x\n" + key))
	if err != nil || !slices.Equal(texts, []string{key, key, key}) || !slices.Equal(numbers, []int{2, 2, 5}) {
		t.Fatalf("%v %v %v", texts, numbers, err)
	}
	if _, _, err := leakedLines(strings.NewReader(strings.Repeat("x", maxLeakedLine+1))); err == nil {
		t.Fatal("a line without an end was read")
	}
}

func TestGivenFlags(t *testing.T) {
	var g grantFlags
	cmd := (&app{}).keysRevokeCommand()
	g.bind(cmd)
	if err := cmd.ParseFlags([]string{"--scope", "", "--model", "a,b"}); err != nil {
		t.Fatal(err)
	}
	body, mask := given(cmd, g.fields())
	names := strings.Split(mask, ",")
	slices.Sort(names)
	scopes, _ := body["scopes"].([]string)
	models, _ := body["models"].([]string)
	if !slices.Equal(names, []string{"models", "scopes"}) || len(scopes) != 0 || !slices.Equal(models, []string{"a", "b"}) || len(body) != 2 {
		t.Fatalf("%v, %v", body, names)
	}
}

package login

import (
	"strconv"
	"time"

	g "maragu.dev/gomponents"
	h "maragu.dev/gomponents/html"

	"github.com/poterne/poterne/services/edge/internal/session"
)

// document is a page; it shows texts and attributes, all escaped.
func (v view) document() g.Node {
	return h.Doctype(h.HTML(
		h.Lang("en"),
		h.Head(
			h.Meta(h.Charset("utf-8")),
			h.Meta(h.Name("viewport"), h.Content("width=device-width, initial-scale=1")),
			h.Meta(h.Name("color-scheme"), h.Content("light dark")),
			g.If(v.CSRFToken != "", h.Meta(h.Name("csrf-token"), h.Content(v.CSRFToken))),
			h.TitleEl(g.Text(v.title()+" – Poterne")),
			h.Link(h.Rel("stylesheet"), h.Href("/login/style.css")),
		),
		h.Body(
			h.Header(
				h.Strong(g.Text("Poterne")),
				h.Nav(
					link("/account", "Account"), g.Text(" "), link("/docs/", "API"),
					g.If(v.Session != nil, g.Group{g.Text(" "), link("/logout", "Sign out")}),
				),
			),
			h.Main(v.main()),
		),
	))
}

func (v view) title() string {
	switch v.Page {
	case pageAccount:
		return "Account"
	case pageSignOut:
		return "Sign out"
	case pageSignedOut:
		return "Signed out"
	default:
		return "Error " + strconv.Itoa(v.Status)
	}
}

func (v view) main() g.Node {
	switch v.Page {
	case pageAccount:
		return g.Group{v.who(), v.sessions(), v.calling()}
	case pageSignOut:
		return g.Group{
			h.H1(g.Text("Sign out")),
			h.P(g.Text("You are signed in as "), h.Strong(g.Text(v.Session.Subject)), g.Text(" of "), h.Strong(g.Text(v.Session.Tenant)), g.Text(".")),
			v.signOut(),
		}
	case pageSignedOut:
		return g.Group{h.H1(g.Text("You are signed out")), signIn()}
	default:
		return g.Group{
			h.H1(g.Text("That did not work")),
			h.P(h.Class("error"), h.Role("alert"), g.Text(sentence(v.Message))),
			h.P(g.Text("When you ask for help, say this: "), h.Code(g.Text(v.RequestID))),
			signIn(),
		}
	}
}

func (v view) who() g.Node {
	roles := g.Node(names(v.Session.Roles))
	if len(v.Session.Roles) == 0 {
		roles = g.Text("none: ask your administrator for one")
	}
	return g.Group{
		h.H1(g.Text("Your account")),
		h.Dl(
			fact("Tenant", g.Text(v.Session.Tenant)),
			fact("Subject", g.Text(v.Session.Subject)),
			fact("Roles", roles),
			g.If(len(v.Session.Groups) > 0, fact("Groups", names(v.Session.Groups))),
			fact("Signed in until", g.Text(at(v.Session.ExpireTime)+" at the latest")),
		),
		v.signOut(),
	}
}

func (v view) sessions() g.Node {
	return g.Group{
		h.H2(g.Text("Your sessions")),
		h.P(g.Text("Everywhere you are signed in. One that you do not know: end it, and change your password at your provider; " +
			"a browser that is still signed in there comes back without being asked.")),
		h.Div(h.Class("table"), h.Table(
			h.THead(h.Tr(g.Map([]string{"Browser", "From", "Began", "Last used", ""}, func(s string) g.Node { return h.Th(g.Text(s)) }))),
			h.TBody(g.Map(v.Sessions, v.row)),
		)),
		g.If(len(v.Sessions) > 1, v.form("/account/sessions", hidden("id", ""), h.Button(g.Text("End all others")))),
	}
}

func (v view) row(s session.Record) g.Node {
	agent := s.Agent
	if agent == "" {
		agent = "not said"
	}
	end := h.Em(g.Text("this browser"))
	if s.ID != v.Session.ID {
		end = v.form("/account/sessions", hidden("id", s.ID), h.Button(h.Class("small"), g.Text("End")))
	}
	return h.Tr(
		h.Td(h.Class("agent"), g.Text(agent)), h.Td(g.Text(s.Address)),
		h.Td(h.Class("time"), g.Text(at(s.CreateTime))), h.Td(h.Class("time"), g.Text(at(s.LastUseTime))),
		h.Td(h.Class("time"), end),
	)
}

func (v view) calling() g.Node {
	return g.Group{
		h.H2(g.Text("Calling the API")),
		h.P(g.Text("Programs use an API key or an access token, not this session:")),
		h.Pre(g.Text("curl " + v.PublicURL + `/v1/models -H "Authorization: Bearer $POTERNE_API_KEY"`)),
		h.P(
			g.Text("OpenAI's SDKs need only "), h.Code(g.Text(`base_url="`+v.PublicURL+`/v1"`)),
			g.Text(" and the key. Every call is described "), link("/docs/", "here"), g.Text(", where you can also try it with this session."),
		),
	}
}

func (v view) signOut() g.Node { return v.form("/logout", h.Button(g.Text("Sign out"))) }

// form is a form of ours, which says by its token that it is.
func (v view) form(action string, fields ...g.Node) g.Node {
	return h.Form(h.Method("post"), h.Action(action), hidden(csrfField, v.CSRFToken), g.Group(fields))
}

func hidden(name, value string) g.Node {
	return h.Input(h.Type("hidden"), h.Name(name), h.Value(value))
}

// link is a link to a page of ours. Its address is always a constant: attributes are
// escaped, but no scheme is looked at.
func link(path, text string) g.Node { return h.A(h.Href(path), g.Text(text)) }

func signIn() g.Node { return h.P(h.A(h.Class("button"), h.Href(PathLogin), g.Text("Sign in"))) }

func fact(name string, value g.Node) g.Node { return g.Group{h.Dt(g.Text(name)), h.Dd(value)} }

func names(all []string) g.Group {
	return g.Map(all, func(s string) g.Node { return g.Group{h.Span(h.Class("name"), g.Text(s)), g.Text(" ")} })
}

func at(t time.Time) string { return t.UTC().Format("2 Jan 2006, 15:04 UTC") }

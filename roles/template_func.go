package roles

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"text/template"
)

// functions are those of a template, with ring's secrets. What text/template has itself is replaced where it
// could make more than fits into memory.
func functions(ring keyring, m *meter) template.FuncMap {
	return template.FuncMap{
		tick: m.tick,
		"secret": func(name string) (string, error) {
			s, err := ask(ring, name)
			m.secret = true
			return string(s.Value), err
		},
		"public": func(name string) (string, error) {
			s, err := ask(ring, name)
			if err == nil && s.Public == "" {
				err = fmt.Errorf("secret %q has no public half (only ssh and tls have)", name)
			}
			return s.Public, err
		},
		"quote":   func(v any) (string, error) { return m.text(strconv.Quote(fmt.Sprint(v))) },
		"lower":   func(v any) (string, error) { return m.text(strings.ToLower(fmt.Sprint(v))) },
		"join":    func(a, b any) (string, error) { return m.join(a, b) },
		"default": orElse,
		"indent":  m.indent,

		"print":    func(v ...any) (string, error) { return m.print(fmt.Sprint, v) },
		"println":  func(v ...any) (string, error) { return m.print(fmt.Sprintln, v) },
		"html":     func(v ...any) (string, error) { return m.print(template.HTMLEscaper, v) },
		"js":       func(v ...any) (string, error) { return m.print(template.JSEscaper, v) },
		"urlquery": func(v ...any) (string, error) { return m.print(template.URLQueryEscaper, v) },
		"printf":   m.printf,
	}
}

func ask(ring keyring, name string) (Secret, error) {
	if ring == nil {
		return Secret{}, fmt.Errorf("there are no secrets here")
	}
	return ring.secret(name)
}

// orElse is v, or def where v is empty.
func orElse(def, v any) any {
	if ok, _ := template.IsTrue(v); ok {
		return v
	}
	return def
}

// join puts a list into one text. The separator may come before or after the list.
func (m *meter) join(a, b any) (string, error) {
	sep, list := fmt.Sprint(a), reflect.ValueOf(b)
	if v := reflect.ValueOf(a); v.Kind() == reflect.Slice {
		sep, list = fmt.Sprint(b), v
	}
	if list.Kind() != reflect.Slice {
		return "", fmt.Errorf("want a separator and a list, not %T and %T", a, b)
	}
	var out strings.Builder
	for i := range list.Len() {
		if i > 0 {
			out.WriteString(sep)
		}
		out.WriteString(fmt.Sprint(list.Index(i).Interface()))
		if out.Len() > fileMax {
			break
		}
	}
	return m.text(out.String())
}

// indent puts so many spaces before every line that is not empty.
func (m *meter) indent(spaces int, v any) (string, error) {
	const most = 100
	if spaces < 0 || spaces > most {
		return "", fmt.Errorf("%d spaces are not between 0 and %d", spaces, most)
	}
	pad := strings.Repeat(" ", spaces)
	lines := strings.SplitAfter(fmt.Sprint(v), "\n")
	var out strings.Builder
	for _, l := range lines {
		if strings.TrimRight(l, "\r\n") != "" {
			out.WriteString(pad)
		}
		out.WriteString(l)
		if out.Len() > fileMax {
			break
		}
	}
	return m.text(out.String())
}

// print is fmt's, when its arguments are not too long together.
func (m *meter) print(format func(...any) string, args []any) (string, error) {
	sum := 0
	for _, a := range args {
		if s, ok := a.(string); ok {
			sum += len(s)
		}
	}
	if sum > fileMax {
		return m.text(strings.Repeat(" ", fileMax+1))
	}
	return m.text(format(args...))
}

// printf is fmt's for formats of a human's size: a verb may repeat an argument, and a width add a megabyte.
func (m *meter) printf(format string, args ...any) (string, error) {
	const verbs, longest = 64, 64 << 10
	if strings.Count(format, "%") > verbs {
		return "", fmt.Errorf("more than %d verbs", verbs)
	}
	for _, a := range args {
		if s, ok := a.(string); ok && len(s) > longest {
			return "", fmt.Errorf("an argument of more than %d KiB; print takes longer ones", longest>>10)
		}
	}
	return m.text(fmt.Sprintf(format, args...))
}

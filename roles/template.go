package roles

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/template"
)

const (
	// templateMax bounds the text of a template: what is bigger belongs into the image or on a volume.
	templateMax = 1 << 20
	// fileMax bounds a rendered file, filesMax all files of one node: they travel in one answer of 16 MiB,
	// as base64 in JSON.
	fileMax  = 4 << 20
	filesMax = 8 << 20
)

// templateError is what is wrong with a template, and where.
type templateError struct {
	line int // 0 for the template as a whole
	text string
}

// Error implements error.
func (e *templateError) Error() string {
	if e.line == 0 {
		return e.text
	}
	return fmt.Sprintf("line %d: %s", e.line, e.text)
}

// keyring gives a template its secrets.
type keyring interface {
	// secret gives a secret by its name; the error says why there is none.
	secret(name string) (Secret, error)
}

// parsed is a template that can be rendered once.
type parsed struct {
	*template.Template
	meter *meter
}

// parseTemplate reads a template and lets it run under a meter. A nil ring has no secrets.
func parseTemplate(text string, ring keyring) (parsed, error) {
	if len(text) > templateMax {
		return parsed{}, &templateError{text: fmt.Sprintf("is longer than %d KiB: put it into the image, or on a volume", templateMax>>10)}
	}
	m := &meter{}
	t, err := template.New(templateName).Option("missingkey=error").Funcs(functions(ring, m)).Parse(text)
	if err != nil {
		return parsed{}, explainTemplate(err)
	}
	for _, each := range t.Templates() {
		watch(each.Tree)
	}
	return parsed{t, m}, nil
}

// render gives the template's text for data, and whether a secret is in it.
func (p parsed) render(data FileData) (out []byte, secret bool, err error) {
	var b bytes.Buffer
	if err := p.Execute(&bounded{&b, p.meter}, data); err != nil {
		return nil, p.meter.secret, explainTemplate(err)
	}
	for _, hole := range holes {
		// What the template says itself is meant so.
		if i := bytes.Index(b.Bytes(), []byte(hole)); i >= 0 && !p.says(hole) {
			line := 1 + bytes.Count(b.Bytes()[:i], []byte("\n"))
			return nil, p.meter.secret, &templateError{text: fmt.Sprintf("a value is missing: line %d of the result has %q", line, hole)}
		}
	}
	return b.Bytes(), p.meter.secret, nil
}

// holes are what text/template and net/netip write for a value that there is not.
var holes = []string{"<no value>", "<nil>", "invalid IP", "invalid Prefix"}

func (p parsed) says(text string) bool {
	return slices.ContainsFunc(p.Templates(), func(t *template.Template) bool {
		return t.Tree != nil && t.Root != nil && strings.Contains(t.Root.String(), text)
	})
}

const templateName = "file"

var templateErrorRE = regexp.MustCompile(`(?s)^template: ` + templateName + `:(\d+)(?::\d+)?: (?:executing "[^"]*" at )?(.*)$`)

// explainTemplate puts an error of text/template into words for who wrote the template.
func explainTemplate(err error) error {
	if over := (*meterError)(nil); errors.As(err, &over) {
		return &templateError{text: over.Error()}
	}
	m := templateErrorRE.FindStringSubmatch(err.Error())
	if m == nil {
		return &templateError{text: strings.TrimPrefix(err.Error(), "template: ")}
	}
	line, _ := strconv.Atoi(m[1])
	text := m[2]
	// "<secret "x">: error calling secret: …" says it twice.
	if _, after, ok := strings.Cut(text, ": error calling "); ok {
		if name, why, ok := strings.Cut(after, ": "); ok {
			text = name + ": " + why
		}
	}
	return &templateError{line, text}
}

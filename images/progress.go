package images

import (
	"bytes"
	"io"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Stage is a part of a build.
type Stage string

// The stages of a build, in order.
const (
	StagePrepare  Stage = "prepare"  // locks, space, package lists
	StageImport   Stage = "import"   // a root that exists, instead of Debian's packages
	StageDownload Stage = "download" // packages
	StageBase     Stage = "base"     // Debian's essential packages
	StagePackages Stage = "packages" // the kernel, systemd and the role's packages
	StageTree     Stage = "tree"     // overlay, services, what a diskless node does not need
	StageHooks    Stage = "hooks"    // the recipe's own scripts
	StageInitrd   Stage = "initrd"   // kernel and initrd
	StageManifest Stage = "manifest" // every file's digest
	StagePublish  Stage = "publish"  // flushed to the disk and named
	StageDone     Stage = "done"
)

// stageStart is the percentage of a build at which a stage begins, as measured on a mail server's image, whose
// packages came over a line of 100 Mbit/s.
var stageStart = map[Stage]int{
	StagePrepare: 0, StageImport: 3, StageDownload: 3, StageBase: 15, StagePackages: 40, StageTree: 88,
	StageHooks: 89, StageInitrd: 91, StageManifest: 95, StagePublish: 98, StageDone: 100,
}

// importStart is the same for a root that is imported: packages are the few that it lacks, if any.
var importStart = map[Stage]int{
	StagePrepare: 0, StageImport: 2, StageDownload: 60, StageBase: 65, StagePackages: 65, StageTree: 80,
	StageHooks: 82, StageInitrd: 86, StageManifest: 92, StagePublish: 97, StageDone: 100,
}

// stageOrder lists the stages as they come.
var stageOrder = []Stage{
	StagePrepare, StageImport, StageDownload, StageBase, StagePackages, StageTree, StageHooks, StageInitrd,
	StageManifest, StagePublish, StageDone,
}

// Progress tells how far a build is.
type Progress struct {
	Stage Stage
	// Percent of the whole build, 0–100. It never falls.
	Percent int
	// Message is what is being done, for people: "unpacking nginx-light".
	Message string
	// Elapsed since the build began; Remaining is an estimate, 0 while there is none.
	Elapsed, Remaining time.Duration
}

// progress turns the output of mmdebstrap and apt into Progress. It is used by one goroutine at a time.
type progress struct {
	report  func(Progress) // nil: nobody listens
	starts  map[Stage]int
	started time.Time
	now     func() time.Time
	stage   Stage
	percent int
	total   int // steps in this stage, as apt announced; 0: unknown
	done    int
	gets    int // of them, packages to fetch before any is unpacked
	// anchor is when and where the stage began whose speed tells that of the rest: a download's does not.
	anchor struct {
		at      time.Time
		percent int
	}
}

func newProgress(report func(Progress)) *progress {
	return &progress{report: report, starts: stageStart, now: time.Now, started: time.Now(), stage: StagePrepare}
}

// enter begins a stage. The count of packages holds for the download and the installation alike.
func (p *progress) enter(s Stage, message string) {
	p.stage, p.done, p.gets = s, 0, 0
	if s == StageBase || s == StageImport {
		p.anchor.at, p.anchor.percent = p.now(), max(p.percent, p.starts[s])
	}
	p.tell(message)
}

// Output that moves a build on. mmdebstrap announces its stages; apt and dpkg tell each package.
var (
	stageLines = map[string]Stage{
		"I: downloading packages":          StageDownload,
		"I: extracting archives":           StageBase,
		"I: installing remaining packages": StagePackages,
	}
	countLine    = regexp.MustCompile(`(\d+) newly installed`)
	needLine     = regexp.MustCompile(`^Need to get ([1-9]\S*) \S?B`)
	downloadLine = regexp.MustCompile(`^Get:\d+ \S+ \S+ \S+ (\S+)`)
	dpkgLine     = regexp.MustCompile(`^(Unpacking|Setting up) (\S+)`)
)

// line reads one line of output.
func (p *progress) line(s string) {
	for begin, stage := range stageLines {
		if strings.HasPrefix(s, begin) {
			p.enter(stage, strings.TrimPrefix(strings.TrimSuffix(s, "..."), "I: "))
			return
		}
	}
	if m := countLine.FindStringSubmatch(s); m != nil {
		p.total, _ = strconv.Atoi(m[1])
		p.gets = 0
		return
	}
	if needLine.MatchString(s) {
		p.gets = p.total // or fewer: some may be in the cache
		return
	}
	if m := downloadLine.FindStringSubmatch(s); m != nil {
		switch p.stage {
		case StageDownload:
			p.step(p.total, "downloading "+m[1])
		case StagePackages: // all but the essential ones come now
			p.step(p.gets+2*p.total, "downloading "+m[1])
		}
		return
	}
	if m := dpkgLine.FindStringSubmatch(s); m != nil {
		name, _, _ := strings.Cut(m[2], ":")
		p.done = max(p.done, p.gets)
		// Each package is unpacked, then set up.
		p.step(p.gets+2*p.total, strings.ToLower(m[1])+" "+name)
	}
}

// step counts one of total steps of the stage.
func (p *progress) step(total int, message string) {
	p.done++
	p.part(min(p.done, total), total, message)
}

// part says that n of total parts of the stage are done; a total of 0 is not known.
func (p *progress) part(n, total int, message string) {
	begin, end := p.starts[p.stage], p.starts[nextStage(p.stage)]
	if total > 0 {
		p.percent = max(p.percent, begin+(end-begin)*min(max(n, 0), total)/total)
	}
	p.tell(message)
}

func nextStage(s Stage) Stage {
	for i, other := range stageOrder[:len(stageOrder)-1] {
		if other == s {
			return stageOrder[i+1]
		}
	}
	return StageDone
}

// tell reports where the build is.
func (p *progress) tell(message string) {
	p.percent = max(p.percent, p.starts[p.stage])
	if p.report == nil {
		return
	}
	elapsed := p.now().Sub(p.started)
	p.report(Progress{p.stage, p.percent, message, elapsed.Round(time.Millisecond), p.remaining().Round(time.Second)})
}

// remaining estimates the time that is left; 0 while a part is not done that is large enough to tell.
func (p *progress) remaining() time.Duration {
	begin, from := p.started, 0
	if !p.anchor.at.IsZero() {
		begin, from = p.anchor.at, p.anchor.percent
	}
	if p.percent-from < estimateFrom {
		return 0
	}
	return p.now().Sub(begin) * time.Duration(100-p.percent) / time.Duration(p.percent-from)
}

// estimateFrom is the percentage below which an estimate is only noise.
const estimateFrom = 5

// lineWriter passes everything on to w and each whole line to fn as well. It keeps the last errors that
// were told, for the build's own error.
type lineWriter struct {
	w    io.Writer
	fn   func(string)
	rest []byte
	errs []string
}

// maxLine bounds what is kept of a line that never ends.
const maxLine = 64 << 10

// Write implements io.Writer.
func (l *lineWriter) Write(b []byte) (int, error) {
	if _, err := l.w.Write(b); err != nil {
		return 0, err
	}
	l.rest = append(l.rest, b...)
	for {
		line, rest, found := bytes.Cut(l.rest, []byte("\n"))
		if !found {
			break
		}
		l.take(string(line))
		l.rest = rest
	}
	if len(l.rest) > maxLine {
		l.rest = nil
	}
	return len(b), nil
}

func (l *lineWriter) take(line string) {
	// A terminal's progress line overwrites itself.
	if i := strings.LastIndexByte(strings.TrimRight(line, "\r"), '\r'); i >= 0 {
		line = line[i+1:]
	}
	line = strings.TrimRight(line, "\r")
	for _, begin := range []string{"E: ", "dpkg: error", "Failed to ", "mmdebstrap: "} {
		if strings.HasPrefix(line, begin) && len(l.errs) < 5 {
			l.errs = append(l.errs, strings.TrimPrefix(line, "E: "))
		}
	}
	l.fn(line)
}

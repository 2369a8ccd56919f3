# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# Completion of lastref for bash. What there is to complete is read from the program's own help.

# Help between the line "$1" and the next empty one.
_lastref_section() {
	lastref --help 2>/dev/null | sed -n "/^$1/,/^\$/{/^  /p}"
}

# Words that may stand for a placeholder of the help.
_lastref_placeholder() {
	case $1 in
	NAME) lastref -j port show 2>/dev/null | grep -oE '"name": ?"[^"]*"' | sed 's/.*"\(.*\)"/\1/' ;;
	TYPE) _lastref_section 'Types of ports' | sed -nE 's/^  ([a-z]+) .*/\1/p' ;;
	STATE) echo waiting connected running broken ;;
	FILE | PATH | DIR) compgen -f -- "$2" ;;
	USER) compgen -u -- "$2" ;;
	esac
}

# What may follow the words "$2"... when "$1" is typed already.
_lastref_next() {
	local typed=$1 line at fits
	shift
	if [ "${1-} ${2-}" = 'switch set' ] && [ $# -eq 2 ]; then
		_lastref_section 'Keys of switch set' | sed -nE 's/^  ([a-z-]+) .*/\1/p'
		return
	fi
	if [ "${1-} ${2-}" = 'port add' ] && [ $# -ge 4 ] && [ $(($# % 2)) -eq 0 ]; then
		lastref --help 2>/dev/null | sed -n '/^Types of ports/,/^$/p' |
			awk -v type="$4" '/^  [a-z]/ { mine = $1 == type } /^    / && mine { print $1 }'
		return
	fi
	_lastref_section Commands: | sed -E 's/^  //; s/   .*//; s/[][]|\.\.\.//g' |
		while read -r -a line; do
			fits=yes
			for ((at = 1; at <= $#; at++)); do
				case ${line[at - 1]-} in
				*[!A-Z]*) [[ "|${line[at - 1]}|" == *"|${!at}|"* ]] || fits= ;;
				'') fits= ;;
				esac
			done
			[ -n "$fits" ] || continue
			case ${line[$#]-} in
			'') ;;
			*[!A-Z]*) echo "${line[$#]//|/ }" ;;
			*) _lastref_placeholder "${line[$#]}" "$typed" ;;
			esac
		done
}

_lastref() {
	local typed=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} words=() at offers
	case $before in
	--control | --state | --config)
		mapfile -t COMPREPLY < <(compgen -f -- "$typed")
		return
		;;
	--user)
		mapfile -t COMPREPLY < <(compgen -u -- "$typed")
		return
		;;
	esac
	for ((at = 1; at < COMP_CWORD; at++)); do
		case ${COMP_WORDS[at]} in
		--control | --state | --config | --user | --workers | --cpus) at=$((at + 1)) ;;
		-*) ;;
		*) words+=("${COMP_WORDS[at]}") ;;
		esac
	done
	if [[ $typed == -* ]]; then
		offers=$(lastref --help 2>/dev/null | grep -oE '^ .*--[a-z]+' | grep -oE -- '--[a-z]+')
	else
		offers=$(_lastref_next "$typed" "${words[@]}")
		[ ${#words[@]} -gt 0 ] || offers+=' demo'
	fi
	mapfile -t COMPREPLY < <(compgen -W "$offers" -- "$typed" | sort -u)
}
complete -o default -F _lastref lastref

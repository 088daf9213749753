"""Runs pyserial's own tests, all or only those that are named, as many at a time as there are ports, and prints a line of JSON for each that has ended."""
import json
import os
import sys
import unittest

folder, modules, only, *urls = sys.argv[1:]
sys.path.insert(0, folder)


class Told(unittest.TestResult):
    def startTest(self, test):
        super().startTest(test)
        self.outcome = {'test': test.id(), 'outcome': 'passed'}

    def addError(self, test, error):
        super().addError(test, error)
        self.outcome['outcome'] = 'failed'
        # The first counts: what a teardown says of it afterwards follows from that.
        self.outcome.setdefault('why', '%s: %s' % (error[0].__name__, error[1]))

    addFailure = addError

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.outcome.update(outcome='skipped', why=reason)

    def stopTest(self, test):
        super().stopTest(test)
        # At once, so that lines of several do not mix.
        os.write(1, (json.dumps(self.outcome) + '\n').encode())


def each(suite):
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from each(test)
        else:
            yield test


def apart(work):
    """In a process of its own, whose end closes what was left open."""
    child = os.fork()
    if child == 0:
        work()
        os._exit(0)
    return child


loaded = [__import__(name) for name in modules.split(',')]
tests = [test for module in loaded for test in each(unittest.defaultTestLoader.loadTestsFromModule(module))]
if only:
    tests = [test for test in tests if test.id() in only.split(',')]


def lane(number, url):
    for module in loaded:
        module.PORT = url
    for test in tests[number::len(urls)]:
        os.waitpid(apart(lambda: test.run(Told())), 0)


for child in [apart(lambda: lane(number, url)) for number, url in enumerate(urls)]:
    os.waitpid(child, 0)
